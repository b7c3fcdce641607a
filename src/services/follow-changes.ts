// Following what a span goes through, over changes of leaders and broken connections.

import type { Clock } from '../base/clock.ts'
import { sleep } from '../base/clock.ts'
import { isMeshError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import { SECOND_MS } from '../base/units.ts'
import type { WatchPage, WatchQuery } from '../core/machine/reads.ts'
import type { Shards, Target } from '../shard/shards.ts'

/** How long to wait for a change until the question is asked anew. */
const WAIT_MS: number = 30 * SECOND_MS
/** And for an answer besides. */
const ANSWER_MS: number = 10 * SECOND_MS
const RETRY_MS = 200

/** What may be well again in a moment. */
const PASSING: readonly ErrorCode[] = ['unreachable', 'no-quorum', 'timeout', 'overloaded']

/**
 * Pages from `query.revision` on, which follow each other and miss nothing; also such without
 * changes. Ends never by itself.
 *
 * @throws compacted, invalid-argument, stopped, or the signal's reason
 */
export async function* followChanges(
  { shards, clock }: { shards: Shards; clock: Clock },
  { target, query, signal }: { target: Target; query: WatchQuery; signal: AbortSignal }
): AsyncGenerator<WatchPage, never> {
  let { revision } = query
  for (;;) {
    signal.throwIfAborted()
    const options = { waitMs: WAIT_MS, timeoutMs: WAIT_MS + ANSWER_MS, signal }
    let page: WatchPage
    try {
      page = await shards.changes(target, { ...query, revision }, options)
    } catch (error) {
      signal.throwIfAborted()
      if (!isMeshError(error) || !PASSING.includes(error.code)) throw error
      await sleep(clock, RETRY_MS, { signal })
      continue
    }
    revision = page.next
    yield page
  }
}
