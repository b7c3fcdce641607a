import { describe, expect, it } from 'vitest'
import { peerId } from '../../src/base/ids.ts'
import { RecentWriters } from '../../src/blocks/recent-writers.ts'

const [a, b] = [peerId('a'), peerId('b')]

describe('RecentWriters', () => {
  it('tells the arcs of one writer, each once, and forgets them', () => {
    const writers = new RecentWriters()
    for (const arc of [5, 7, 5]) writers.note(a, arc, 0)
    writers.note(b, 9, 0)

    expect(writers.take(a, 1)).toEqual([5, 7])
    expect(writers.take(a, 1)).toEqual([])
    expect(writers.take(b, 1)).toEqual([9])
  })

  it('leaves out what was written long ago', () => {
    const writers = new RecentWriters()
    writers.note(a, 1, 0)
    writers.note(a, 2, 100_000)

    expect(writers.take(a, 150_000)).toEqual([2])
  })

  it('keeps a bounded number of writers, those that wrote last', () => {
    const writers = new RecentWriters()
    writers.note(a, 1, 0)
    writers.note(b, 1, 0)
    for (let number = 0; number < 63; number++) {
      writers.note(a, 1, 0)
      writers.note(peerId(`w${number}`), 1, 0)
    }

    expect(writers.take(b, 0)).toEqual([])
    expect(writers.take(a, 0)).toEqual([1])
  })
})
