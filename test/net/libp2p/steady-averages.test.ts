import { AdaptiveTimeout } from '@libp2p/utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { steadyAverages } from '../../../src/net/libp2p/steady-averages.ts'

const HOUR_MS = 3_600_000

describe('deadlines of libp2p', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it.each([-HOUR_MS, HOUR_MS])(
    'stay within their bounds when the clock jumps by %i ms',
    (jumpMs) => {
      steadyAverages()
      vi.useFakeTimers({ toFake: ['Date'] })
      const adaptive = new AdaptiveTimeout({ minTimeout: 1_500, maxTimeout: 3_000 })
      const ask = (duringMs: number): number => {
        const signal = adaptive.getTimeoutSignal()
        vi.setSystemTime(Date.now() + duringMs)
        adaptive.cleanUp(signal)
        return signal.timeout
      }
      ask(5)
      ask(5)
      // While something is asked, and between two questions.
      ask(jumpMs)
      vi.setSystemTime(Date.now() + jumpMs)
      for (let count = 0; count < 3; count++) {
        expect(ask(5)).toBeGreaterThanOrEqual(1_500)
        expect(ask(5)).toBeLessThanOrEqual(3_000)
      }
    }
  )
})
