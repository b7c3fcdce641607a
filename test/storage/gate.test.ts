import { describe, expect, it } from 'vitest'

import { Gate, forEachBounded } from '../../src/storage/file/gate.ts'
import { expectCode } from '../conformance/block-store.ts'

describe('Gate', () => {
  it('runs so many at a time, in the order of the calls', async () => {
    const gate = new Gate({ width: 2, waitingMax: 10 })
    const begun: number[] = []
    const ends: (() => void)[] = []
    const work = [0, 1, 2, 3, 4].map((number) =>
      gate.run(async () => {
        begun.push(number)
        await new Promise<void>((resolve) => {
          ends.push(resolve)
        })
      })
    )

    expect(begun).toEqual([0, 1])
    while (ends.length > 0) {
      const running = ends.splice(0)
      expect(running.length).toBeLessThanOrEqual(2)
      for (const end of running) end()
      for (let turn = 0; turn < 10; turn++) await Promise.resolve()
    }

    await Promise.all(work)
    expect(begun).toEqual([0, 1, 2, 3, 4])
  })

  it('refuses when too many wait, and recovers', async () => {
    const gate = new Gate({ width: 1, waitingMax: 1 })
    const { promise, resolve } = Promise.withResolvers<void>()
    const running = gate.run(() => promise)
    const waiting = gate.run(async () => 'ran')

    await expectCode(
      gate.run(async () => 'never'),
      'overloaded'
    )

    resolve()
    await running
    expect(await waiting).toBe('ran')
    expect(await gate.run(async () => 'again')).toBe('again')
  })

  it('goes on after a task that failed', async () => {
    const gate = new Gate({ width: 1, waitingMax: 1 })

    await expect(gate.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no')

    expect(await gate.run(async () => 'ran')).toBe('ran')
  })
})

describe('forEachBounded', () => {
  it('visits all, so many at a time', async () => {
    const seen: number[] = []
    let running = 0
    let most = 0

    await forEachBounded([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
      running += 1
      most = Math.max(most, running)
      await Promise.resolve()
      seen.push(item)
      running -= 1
    })

    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(most).toBe(3)
  })
})
