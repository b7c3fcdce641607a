// How long tasks took: counts by powers of two, which is all that a median needs.

import { list, uint } from './codec.ts'
import type { Codec } from './codec.ts'

const BUCKET_COUNT = 32

/**
 * Bucket 0 counts durations below 1 ms, bucket b those in [2^(b - 1), 2^b) ms, the last one all
 * longer ones. Without zeros at its end.
 */
export type Durations = readonly number[]

export const durationsCodec: Codec<Durations> = list(uint, BUCKET_COUNT)

/** @returns `durations` with one more. */
export function addDuration(durations: Durations, durationMs: number): Durations {
  const bucket = bucketOf(durationMs)
  const counts = [...durations]
  while (counts.length <= bucket) counts.push(0)
  counts[bucket] = (counts[bucket] ?? 0) + 1
  return counts
}

/**
 * @returns the median in whole milliseconds, as if those of a bucket were spread evenly over it: off
 *   by a factor of two at most. undefined: nothing was counted.
 */
export function medianMs(durations: Durations): number | undefined {
  const count = durations.reduce((sum, each) => sum + each, 0)
  if (count === 0) return undefined
  /** From 1: the one in the middle, the first of two. */
  let rank = Math.floor((count + 1) / 2)
  for (const [bucket, inside] of durations.entries()) {
    if (rank > inside) {
      rank -= inside
      continue
    }
    const low = bucket === 0 ? 0 : 2 ** (bucket - 1)
    const width = bucket === 0 ? 1 : low
    return low + Math.floor((width * (2 * rank - 1)) / (2 * inside))
  }
  return undefined
}

function bucketOf(durationMs: number): number {
  if (durationMs >= 2 ** (BUCKET_COUNT - 2)) return BUCKET_COUNT - 1
  return 32 - Math.clz32(durationMs)
}
