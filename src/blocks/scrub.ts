// Reading every block once in a while, so that rot is found while other copies are good.

import type { Clock } from '../base/clock.ts'
import { sleep } from '../base/clock.ts'
import type { BlockId } from '../base/ids.ts'
import type { BlockStore } from '../storage/block-store.ts'

/** Where a scrub is, kept over restarts. */
export type ScrubState = {
  /** The arc to go on with; 0 at the start of a pass. */
  nextArc: number
  /** When the last whole pass ended, milliseconds since the Unix epoch; for people. */
  completedMs: number | undefined
}

export type ScrubJournal = {
  load(): Promise<ScrubState | undefined>
  save(state: ScrubState): Promise<void>
}

export type ScrubReport = {
  checked: number
  bytes: number
  /** Blocks whose copy here was bad or gone. */
  damaged: number
  /** How many of them have a good copy here again. */
  mended: number
}

export type ScrubComponents = {
  store: BlockStore
  clock: Clock
  journal: ScrubJournal
  /** Fetches a good copy of a damaged block. @returns whether there is one here again */
  mend: (id: BlockId) => Promise<boolean>
}

/** How often the journal is written, in arcs. */
const SAVE_EVERY_ARCS = 64

/**
 * One pass over all blocks of this node, going on where an interrupted one stopped.
 *
 * @param options.bytesPerSecond rate limit; reading pauses to keep below it.
 */
export async function scrub(
  components: ScrubComponents,
  options: {
    bytesPerSecond: number
    signal?: AbortSignal | undefined
    onProgress?: ((report: ScrubReport) => void) | undefined
  }
): Promise<ScrubReport> {
  const { store, clock, journal } = components
  const report: ScrubReport = { checked: 0, bytes: 0, damaged: 0, mended: 0 }
  const state = (await journal.load()) ?? { nextArc: 0, completedMs: undefined }
  const startedMs = clock.monotonicMs()
  let sinceSave = 0
  for (const arc of store.arcs()) {
    if (arc < state.nextArc) continue
    for (const id of store.list(arc)) {
      options.signal?.throwIfAborted()
      await checkOne(components, id, report)
      const dueMs = startedMs + (report.bytes / options.bytesPerSecond) * 1_000
      const aheadMs = dueMs - clock.monotonicMs()
      if (aheadMs > 10) await sleep(clock, aheadMs, options)
    }
    state.nextArc = arc + 1
    options.onProgress?.(report)
    if (++sinceSave >= SAVE_EVERY_ARCS) {
      sinceSave = 0
      await journal.save(state)
    }
  }
  await journal.save({ nextArc: 0, completedMs: clock.nowMs() })
  return report
}

async function checkOne(
  components: ScrubComponents,
  id: BlockId,
  report: ScrubReport
): Promise<void> {
  const { store } = components
  const bytes = store.sizeOf(id)
  if (bytes === undefined) return // Deleted since the list was made.
  const verdict = await store.verify(id)
  report.checked += 1
  report.bytes += bytes
  if (verdict === 'good') return
  report.damaged += 1
  if (await components.mend(id)) report.mended += 1
}
