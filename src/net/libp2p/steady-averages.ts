// libp2p times its pings and queries with the clock of the day, and adapts their deadlines to the
// average. A clock that is set back makes that average "not a number", and every ping after it fails
// at once: all connections break every few seconds until the next start. So averages are told a time
// that never runs back, and no duration that is none.

import { MovingAverage } from '@libp2p/utils'

// oxlint-disable-next-line unbound-method -- called with the average below
const { push } = MovingAverage.prototype

/** Makes the averages of libp2p in this process indifferent to what happens to the clock. */
export function steadyAverages(): void {
  MovingAverage.prototype.push = function (value: number): void {
    push.call(this, Math.max(0, value), performance.now())
  }
}
