import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { linesOf, type RangeReader } from '../../../src/services/compute/line-reader.ts'

function readerOf(bytes: Uint8Array, chunkBytes: number): RangeReader {
  return async function* ({ offset, length }) {
    await Promise.resolve()
    const range = bytes.subarray(offset, offset + length)
    for (let at = 0; at < range.length; at += chunkBytes) yield range.subarray(at, at + chunkBytes)
  }
}

describe('linesOf()', () => {
  it('gives each line of a file to exactly one part, wherever it is split', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ maxLength: 12, unit: fc.constantFrom('a', 'ü', '語', ' ') })),
        fc.boolean(),
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 9 }),
        async (lines, isEnded, partBytes, chunkBytes) => {
          const text = lines.join('\n') + (isEnded && lines.length > 0 ? '\n' : '')
          const bytes = utf8(text)
          const found: string[] = []
          for (let offset = 0; offset < bytes.length; offset += partBytes) {
            const part = { offset, length: partBytes, fileBytes: bytes.length }
            for await (const line of linesOf(readerOf(bytes, chunkBytes), part)) found.push(line)
          }
          const expected = text.split('\n')
          if (expected.at(-1) === '') expected.pop()
          expect(found).toEqual(expected)
        }
      ),
      { numRuns: 2_000 }
    )
  })
})
