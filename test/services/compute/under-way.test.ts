import { describe, expect, it } from 'vitest'
import { UnderWay } from '../../../src/services/compute/under-way.ts'

const ROOMY = { isCrowded: () => false }

type Call = PromiseWithResolvers<string>

function three(isOrdered: boolean): { underWay: UnderWay<string>; calls: [Call, Call, Call] } {
  const underWay = new UnderWay<string>(ROOMY, { isOrdered, countMax: undefined })
  const call = (): Call => Promise.withResolvers<string>()
  const calls: [Call, Call, Call] = [call(), call(), call()]
  for (const { promise } of calls) underWay.add(promise)
  return { underWay, calls }
}

describe('calls under way', () => {
  it('are taken in the order in which they began', async () => {
    const { underWay, calls } = three(true)
    calls[2].resolve('c')
    calls[1].resolve('b')
    const first = underWay.take()
    calls[0].resolve('a')
    expect(await first).toBe('a')
    expect([await underWay.take(), await underWay.take(), underWay.count]).toEqual(['b', 'c', 0])
  })

  it('or in which they end, also when nobody waited for that', async () => {
    const { underWay, calls } = three(false)
    calls[2].resolve('c')
    await calls[2].promise
    calls[0].resolve('a')
    expect([await underWay.take(), await underWay.take(), underWay.count]).toEqual(['c', 'a', 1])
    const last = underWay.take()
    calls[1].resolve('b')
    expect(await last).toBe('b')
  })

  it('fail where they are taken, and nowhere else', async () => {
    for (const isOrdered of [true, false]) {
      const { underWay, calls } = three(isOrdered)
      calls[0].resolve('a')
      calls[1].reject(new Error('b failed'))
      expect(await underWay.take()).toBe('a')
      await expect(underWay.take()).rejects.toThrow('b failed')
      // Not taken: no rejection that nobody handles.
      calls[2].reject(new Error('c failed'))
    }
  })

  it('are as many as the caller says, or else more only while none waits to begin', () => {
    let isCrowded = true
    const filled = (countMax?: number): UnderWay<string> => {
      const options = { isOrdered: true, countMax }
      const underWay = new UnderWay<string>({ isCrowded: () => isCrowded }, options)
      while (!underWay.isFull) underWay.add(Promise.resolve(''))
      return underWay
    }
    expect([filled().count, filled(7).count, filled(1_000).count]).toEqual([128, 7, 1_000])
    isCrowded = false
    expect([filled().count, filled(7).count]).toEqual([512, 7])
  })
})
