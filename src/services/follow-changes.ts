// Following what a span goes through, over changes of leaders and broken connections.

import type { Clock } from '../base/clock.ts'
import { SECOND_MS } from '../base/units.ts'
import type { WatchPage, WatchQuery } from '../core/machine/reads.ts'
import { PROMPT_WAIT_MS, type Shards, type Target } from '../shard/shards.ts'
import { askPatiently } from './patience.ts'

/** How long to wait for a change until the question is asked anew. */
const WAIT_MS: number = 30 * SECOND_MS
/** And for an answer besides. */
const ANSWER_MS: number = 10 * SECOND_MS

/**
 * Pages from `query.revision` on, which follow each other and miss nothing; also such without
 * changes. Ends never by itself.
 *
 * @param options.isPrompt they come at once until nothing has changed for a while, and not when a
 *   replica here hears of them
 * @throws compacted, invalid-argument, stopped, or the signal's reason
 */
export async function* followChanges(
  { shards, clock }: { shards: Shards; clock: Clock },
  options: { target: Target; query: WatchQuery; signal: AbortSignal; isPrompt?: boolean }
): AsyncGenerator<WatchPage, never> {
  const { target, query, signal } = options
  let { revision } = query
  let { isPrompt = false } = options
  for (;;) {
    signal.throwIfAborted()
    const waitMs = isPrompt ? PROMPT_WAIT_MS : WAIT_MS
    const calls = { waitMs, timeoutMs: waitMs + ANSWER_MS, signal }
    const asked = { ...query, revision }
    const page = await askPatiently(clock, signal, () => shards.changes(target, asked, calls))
    revision = page.next
    isPrompt &&= page.revisions.length > 0
    yield page
  }
}
