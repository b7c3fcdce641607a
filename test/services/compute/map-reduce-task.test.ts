import { describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../../src/base/bytes.ts'
import {
  mapReduceTask,
  type MapReduceProgram
} from '../../../src/services/compute/map-reduce-task.ts'
import { encodeValue } from '../../../src/executor/values.ts'
import type { ResultRef } from '../../../src/services/compute/result-ref.ts'

const COUNT: MapReduceProgram = {
  *map(line) {
    for (const word of line.split(' ')) if (word !== '') yield [word, 1]
  },
  combine: (_, values) => (values as number[]).reduce((a, b) => a + b, 0),
  reduce: (_, values) => (values as number[]).reduce((a, b) => a + b, 0)
}

async function countWords(text: string, program: MapReduceProgram): Promise<string> {
  const bytes = utf8(text)
  const written = new Map<string, Uint8Array>()
  /** Results as the mesh keeps them, and how much of each was read. */
  const kept = new Map<string, Uint8Array>()
  const read = new Map<string, number>()
  const files = {
    async *get(cid: string, range: { offset: number; length: number }) {
      await Promise.resolve()
      const content = kept.get(cid) ?? bytes
      read.set(cid, (read.get(cid) ?? 0) + range.length)
      yield content.subarray(range.offset, range.offset + range.length)
    },
    async put(path: string, content: Uint8Array) {
      written.set(path, content)
      await Promise.resolve()
    }
  }
  const task = mapReduceTask(program)
  const { signal } = new AbortController()
  const map: ResultRef[] = []
  for (let offset = 0; offset < bytes.length; offset += 100) {
    const input = { kind: 'map', cid: 'c', partitions: 3, offset, length: 100 } as const
    const part = { ...input, fileBytes: bytes.length }
    const value = encodeValue(await task({ signal, files, after: {} }, part))
    const cid = `result-${offset}`
    kept.set(cid, value)
    map.push(map.length % 2 === 0 ? { cid, bytes: value.length } : { value })
  }
  for (let partition = 0; partition < 3; partition++) {
    const input = { kind: 'reduce', partition, partitions: 3, path: `out/${partition}` } as const
    await task({ signal, files, after: { map } }, input)
  }
  // Each part is read by one of them, and the lengths by all.
  for (const [cid, { length }] of kept) expect(read.get(cid) ?? 0).toBeLessThan(length + 3 * 12)
  const lines = [...written.values()].flatMap((content) => fromUtf8(content).split('\n'))
  return lines
    .filter((line) => line !== '')
    .toSorted()
    .join('\n')
}

describe('mapReduceTask()', () => {
  it('counts words as a single program does, with and without combining', async () => {
    const words = Array.from({ length: 2_000 }, (_, index) => `w${(index * index) % 97}`)
    const text = words.map((word, index) => word + (index % 7 === 6 ? '\n' : ' ')).join('')
    const counts = new Map<string, number>()
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
    const expected = [...counts]
      .map(([word, count]) => `${word}\t${count}`)
      .toSorted()
      .join('\n')

    expect(await countWords(text, COUNT)).toBe(expected)
    expect(await countWords(text, { ...COUNT, combine: undefined })).toBe(expected)
  })
})
