// Clients of a key-value store, whichever it is: each asks again as soon as it is answered.

export type KvTarget = {
  put(key: string, value: Uint8Array): Promise<unknown>
  /** Linearizable. @returns whether it was there */
  get(key: string): Promise<boolean>
}

export type Load = { readonly what: 'put' | 'get'; readonly clients: number; readonly ms: number }

export type LoadFigures = {
  /** Answered in a second. */
  readonly rate: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const SPACES = 512
const KEYS_PER_SPACE = 8
const VALUE_BYTES = 128
/** Not counted: connections, code and queues warm up. */
const LEAD_IN_SHARE = 0.2

/** @returns the name of the nth key of all that a bench uses */
function keyOf(number: number): string {
  return `space-${number % SPACES}/key-${Math.floor(number / SPACES) % KEYS_PER_SPACE}`
}

/** Puts every key once. */
export async function fill(target: KvTarget): Promise<void> {
  let next = 0
  const work = async (): Promise<void> => {
    while (next < SPACES * KEYS_PER_SPACE) await target.put(keyOf(next++), valueOf(next))
  }
  await Promise.all(Array.from({ length: 32 }, work))
}

export async function applyLoad(target: KvTarget, load: Load): Promise<LoadFigures> {
  const { what, clients, ms } = load
  const startMs = performance.now()
  const countFromMs = startMs + ms * LEAD_IN_SHARE
  const endMs = startMs + ms
  const took: number[] = []
  let number = 0
  const work = async (): Promise<void> => {
    for (;;) {
      const key = keyOf((number += 7))
      const askedMs = performance.now()
      if (askedMs > endMs) return
      if (what === 'put') await target.put(key, valueOf(number))
      else if (!(await target.get(key))) throw new Error(`${key} wasn't found`)
      const answeredMs = performance.now()
      if (answeredMs > countFromMs && answeredMs <= endMs) took.push(answeredMs - askedMs)
    }
  }
  await Promise.all(Array.from({ length: clients }, work))
  took.sort((a, b) => a - b)
  const at = (share: number): number => took[Math.floor(took.length * share)] ?? Number.NaN
  const rate = (took.length * 1_000) / (endMs - countFromMs)
  return { rate, p50Ms: at(0.5), p99Ms: at(0.99) }
}

function valueOf(number: number): Uint8Array {
  const value = new Uint8Array(VALUE_BYTES)
  for (let index = 0; index < VALUE_BYTES; index++) value[index] = (number * 31 + index * 7) & 255
  return value
}

/** How often a write is begun while somebody is killed, whether the ones before are answered or not. */
const WRITE_EVERY_MS = 10

/**
 * Writes again and again for some time; what fails is not repeated.
 *
 * @returns the longest time in ms that passed without a write being accepted
 */
export async function longestGap(
  write: (number: number) => Promise<unknown>,
  durationMs: number
): Promise<number> {
  const endMs = performance.now() + durationMs
  let acceptedMs = performance.now()
  let longestMs = 0
  const accepted = (): void => {
    const nowMs = Math.min(performance.now(), endMs)
    longestMs = Math.max(longestMs, nowMs - acceptedMs)
    acceptedMs = nowMs
  }
  for (let number = 0; performance.now() < endMs; number++) {
    write(number).then(accepted, () => {})
    await new Promise((resolve) => {
      setTimeout(resolve, WRITE_EVERY_MS)
    })
  }
  accepted()
  return longestMs
}
