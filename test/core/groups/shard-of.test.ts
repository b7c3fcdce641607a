import { expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { shardOf } from '../../../src/core/groups/shard-of.ts'

it('is what it always was: data lies where these say', () => {
  const spaces = ['', 'a', 'b', 'space-0', 'space-1', 'Fotos', 'größe', 'x'.repeat(255)]
  expect(spaces.map((space) => shardOf(utf8(space), 32))).toEqual([11, 19, 18, 27, 13, 0, 28, 10])
  expect(spaces.map((space) => shardOf(utf8(space), 5))).toEqual([3, 0, 4, 2, 4, 1, 4, 1])
  expect(shardOf(Uint8Array.of(0, 255, 128), 1_000_003)).toBe(397560)
})

it('spreads names that differ in a digit', () => {
  const counts = Array.from({ length: 32 }, () => 0)
  for (let number = 0; number < 32_000; number++) {
    const shard = shardOf(utf8(`volume-${number}`), 32)
    counts[shard] = (counts[shard] ?? 0) + 1
  }
  expect(Math.min(...counts)).toBeGreaterThan(850)
  expect(Math.max(...counts)).toBeLessThan(1_150)
})
