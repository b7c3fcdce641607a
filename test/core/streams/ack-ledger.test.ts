import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRandom } from '../../../src/base/random.ts'
import { AckBuffer } from '../../../src/core/streams/ack-buffer.ts'
import { AckLedger } from '../../../src/core/streams/ack-ledger.ts'

type Update = { root: number; high: number; low: number }

/** A tree of tuples by its shape. @returns the ids of the first ones, XORed, and what each bolt tells */
function tree(root: number, shape: readonly number[], seed: number): [Update, Update[]] {
  const random = createRandom(seed)
  const id = (): Update => ({ root, high: random.u32(), low: random.u32() })
  const first = id()
  const waiting = [first]
  const updates: Update[] = []
  for (const children of [...shape, ...Array.from({ length: 64 }, () => 0)]) {
    const tuple = waiting.shift()
    if (tuple === undefined) break
    const made = Array.from({ length: children }, id)
    waiting.push(...made)
    const all = [tuple, ...made]
    updates.push({
      root,
      high: all.reduce((xor, { high }) => xor ^ high, 0) >>> 0,
      low: all.reduce((xor, { low }) => xor ^ low, 0) >>> 0
    })
  }
  return [first, updates]
}

const shapes = fc.array(fc.nat(3), { maxLength: 12 })

describe('AckLedger', () => {
  it('completes a tree with its last tuple, in whatever order they are processed', () => {
    fc.assert(
      fc.property(shapes, fc.integer(), fc.infiniteStream(fc.nat()), (shape, seed, order) => {
        const ledger = new AckLedger()
        const [first, updates] = tree(1, shape, seed)
        expect(ledger.begin(1, first, 100)).toBe(true)
        const left = [...updates]
        while (left.length > 0) {
          const [next] = left.splice((order.next().value as number) % left.length, 1)
          const { high, low } = next as Update
          expect(ledger.xor(1, high, low)).toBe(left.length === 0)
        }
        expect(ledger.size).toBe(0)
      })
    )
  })

  it('is told the same by a buffer that makes one of many updates', () => {
    fc.assert(
      fc.property(shapes, shapes, fc.integer(), (one, two, seed) => {
        const ledger = new AckLedger()
        const trees = [tree(1, one, seed), tree(2, two, seed + 1)] as const
        for (const [first] of trees) ledger.begin(first.root, first, 100)
        const early = new AckBuffer()
        const late = new AckBuffer()
        for (const [index, { root, high, low }] of trees.flatMap(([, all]) => all).entries()) {
          ;(index % 2 === 0 ? early : late).add(7, root, high, low)
        }
        early.merge(late)
        expect(late.count).toBe(0)
        const taken = early.take()
        for (const [source, acks] of taken) early.put(source, acks)
        const complete = early.take().flatMap(([source, { roots, xors }]) => {
          expect(source).toBe(7)
          return [...roots].filter((root, index) =>
            ledger.xor(root, xors[2 * index] as number, xors[2 * index + 1] as number)
          )
        })
        expect(complete).toEqual([1, 2])
      })
    )
  })

  it('knows nothing of a tree that was given up', () => {
    const ledger = new AckLedger()
    ledger.begin(1, { high: 1, low: 2 }, 100)
    expect(ledger.drop(1)).toBe(true)
    expect(ledger.xor(1, 1, 2)).toBe(false)
    expect(ledger.drop(1)).toBe(false)
  })

  it('has nothing to wait for when nothing was emitted', () => {
    expect(new AckLedger().begin(1, { high: 0, low: 0 }, 100)).toBe(false)
  })

  it('gives up what is due, the oldest first, and sooner when it is told to', () => {
    const ledger = new AckLedger()
    for (const root of [1, 2, 3]) ledger.begin(root, { high: 1, low: root }, 100 * root)
    expect(ledger.takeDue(99)).toEqual([])
    expect(ledger.takeDue(200)).toEqual([1, 2])
    ledger.begin(4, { high: 1, low: 1 }, 400)
    ledger.hasten(250)
    expect(ledger.takeDue(249)).toEqual([])
    expect(ledger.takeDue(250)).toEqual([3, 4])
  })
})
