// Seeded randomness from integers only: the same seed gives the same run on every machine.

/** A source of random integers. Cores receive it; they never make one. */
export type Random = {
  /** A uniform integer in [0, 2^32). */
  u32(): number
  /** A uniform integer in [0, bound); `bound` in 1..2^32. */
  below(bound: number): number
}

/**
 * The xoshiro128** generator (Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", 2021), its state filled from `seed` by SplitMix32. Not for secrets.
 *
 * @param seed any integer; its low 32 bits count.
 */
export function createRandom(seed: number): Random {
  let mix = seed >>> 0
  const next = (): number => {
    mix = (mix + 0x9e3779b9) >>> 0
    let z = mix
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return (z ^ (z >>> 16)) >>> 0
  }
  let a = next()
  let b = next()
  let c = next()
  let d = next()

  const u32 = (): number => {
    const scaled = Math.imul(b, 5)
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << 11) | (d >>> 21)
    return result
  }

  return { u32, below: (bound) => Math.floor((u32() / 0x1_0000_0000) * bound) }
}

/** @returns true `numerator` times out of `denominator`. */
export function chance(random: Random, numerator: number, denominator: number): boolean {
  return random.below(denominator) < numerator
}

/** Shuffles `items` in place (Fisher and Yates) and returns it. */
export function shuffle<T>(random: Random, items: T[]): T[] {
  for (let index = items.length - 1; index > 0; index--) {
    const other = random.below(index + 1)
    const held = items[index] as T
    items[index] = items[other] as T
    items[other] = held
  }
  return items
}

/** @returns one item of a list that isn't empty. */
export function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.below(items.length)] as T
}
