// What it costs a node that its log is stuck: first its leaderships are handed over, …

import type { Clock } from '../base/clock.ts'
import type { LogStore } from '../storage/log-store.ts'

const STALL_MS = 1_000
/** … then it falls silent, so that the others elect. */
const LONG_STALL_MS = 3_000

export type Stall = 'none' | 'short' | 'long'

export function stallOf(logStore: Pick<LogStore, 'pendingSinceMs'>, clock: Clock): Stall {
  const sinceMs = logStore.pendingSinceMs()
  const stalledMs = sinceMs === undefined ? 0 : clock.monotonicMs() - sinceMs
  if (stalledMs > LONG_STALL_MS) return 'long'
  return stalledMs > STALL_MS ? 'short' : 'none'
}
