import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CreditWindow } from '../../../src/core/streams/credit-window.ts'
import { instanceOfKey, RoundRobin } from '../../../src/core/streams/grouping.ts'
import { InboxQueue } from '../../../src/core/streams/inbox-queue.ts'

describe('CreditWindow', () => {
  it('T-5 begins with one, goes by the last answer, and is careful after a failure', () => {
    const window = new CreditWindow()
    expect(window.mayBegin).toBe(true)
    window.begin()
    expect(window.mayBegin).toBe(false)
    window.answered(3)
    for (let count = 0; count < 3; count++) window.begin()
    expect(window.mayBegin).toBe(false)
    window.failed()
    expect(window.unanswered).toBe(2)
    expect(window.mayBegin).toBe(false)
    window.answered(0)
    window.answered(0)
    expect(window.mayBegin).toBe(true)
  })
})

describe('InboxQueue', () => {
  const batch = new Uint8Array(100)

  it('T-3 tells a sender when its batch was taken, in order', () => {
    const queue = new InboxQueue()
    const taken: number[] = []
    for (const number of [1, 2, 3]) queue.offer('a', batch, () => taken.push(number))
    expect(taken).toEqual([])
    expect(queue.take()).toHaveLength(3)
    expect(taken).toEqual([1, 2, 3])
    expect(queue.take()).toEqual([])
  })

  it('gives back what was not taken yet', () => {
    const queue = new InboxQueue()
    const takeBack = queue.offer('a', batch, () => expect.unreachable())
    takeBack?.()
    takeBack?.()
    expect(queue.count).toBe(0)
    expect(queue.take()).toEqual([])
  })

  it('T-6 refuses what is too much, but for a single batch', () => {
    const queue = new InboxQueue()
    const large = new Uint8Array(17 * 1_048_576)
    expect(queue.offer('a', large, () => {})).toBeDefined()
    expect(queue.offer('a', batch, () => {})).toBeUndefined()
    queue.take()
    for (let count = 0; count < 256; count++) {
      expect(queue.offer('a', batch, () => {})).toBeDefined()
    }
    expect(queue.offer('a', batch, () => {})).toBeUndefined()
  })

  it('is full of no more than what it gives credit for, and never stops giving some', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.oneof(fc.nat(11), fc.constant('take' as const)), { maxLength: 200 }),
        (senders, steps) => {
          const queue = new InboxQueue()
          const windows = Array.from({ length: senders }, () => new CreditWindow())
          for (const step of steps) {
            if (step === 'take') queue.take()
            else {
              const window = windows[step % senders] as CreditWindow
              if (!window.mayBegin) continue
              window.begin()
              const offered = queue.offer(String(step % senders), batch, () =>
                window.answered(queue.credit)
              )
              expect(offered).toBeDefined()
            }
            expect(queue.credit).toBeGreaterThanOrEqual(1)
            expect(queue.count).toBeLessThanOrEqual(8 * senders)
          }
          while (queue.count > 0) queue.take()
          expect(windows.every(({ mayBegin }) => mayBegin)).toBe(true)
        }
      )
    )
  })
})

describe('instanceOfKey()', () => {
  it('is always the same, and one of the instances', () => {
    expect(['fish', 'one', 'red', ''].map((key) => instanceOfKey(key, 4))).toMatchInlineSnapshot(`
      [
        0,
        3,
        2,
        3,
      ]
    `)
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 64 }), (key, count) => {
        const instance = instanceOfKey(key, count)
        expect(instance).toBe(instanceOfKey(key, count))
        expect(Number.isInteger(instance) && instance >= 0 && instance < count).toBe(true)
      })
    )
  })

  it('is the same for a number and its text', () => {
    expect(instanceOfKey(42, 16)).toBe(instanceOfKey('42', 16))
  })

  it('shares keys that differ in their last letter alone', () => {
    const counts = Array.from({ length: 4 }, () => 0)
    for (let key = 0; key < 4_000; key++) counts[instanceOfKey(`word-${key}`, 4)]! += 1
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150)
  })
})

describe('RoundRobin', () => {
  it('takes turns among those that are ready, and among all when none is', () => {
    const turns = new RoundRobin(3)
    const all = (): boolean => true
    expect([1, 2, 3, 4].map(() => turns.next(all))).toEqual([0, 1, 2, 0])
    expect(turns.next((index) => index !== 1)).toBe(2)
    expect([1, 2].map(() => turns.next(() => false))).toEqual([0, 1])
  })
})
