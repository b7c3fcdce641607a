// The real clock. Built here and handed to everything else.

import type { Clock } from '../base/clock.ts'

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  nowMs: () => Date.now(),
  after: (delayMs, run) => {
    const handle = setTimeout(run, delayMs)
    return { cancel: () => clearTimeout(handle) }
  }
}
