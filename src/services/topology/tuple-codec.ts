// Batches as operators send them to each other: columns, in the form of `encodeValue`. The nodes in
// between don't look into them.

import type { Acks } from '../../core/streams/ack-buffer.ts'
import { decodeValue, encodeValue } from '../../executor/values.ts'

/** Tuples of one edge. */
export type Tuples = {
  readonly kind: 'tuples'
  /** The spout's instance that each came from in the end. */
  readonly sources: Uint16Array
  readonly roots: Float64Array
  /** Two for each: high and low. */
  readonly ids: Uint32Array
  readonly values: readonly unknown[]
}

export type Message = Tuples | ({ readonly kind: 'acks' } & Acks)

export function encodeMessage(message: Message): Uint8Array {
  return encodeValue(message)
}

/** @throws invalid-data */
export function decodeMessage(bytes: Uint8Array): Message {
  return decodeValue(bytes) as Message
}

/** @param tuples two at least */
export function halves({ sources, roots, ids, values }: Tuples): [Tuples, Tuples] {
  const middle = Math.floor(values.length / 2)
  const part = (from: number, to: number): Tuples => ({
    kind: 'tuples',
    sources: sources.slice(from, to),
    roots: roots.slice(from, to),
    ids: ids.slice(2 * from, 2 * to),
    values: values.slice(from, to)
  })
  return [part(0, middle), part(middle, values.length)]
}

/** Tuples that wait to be sent together. */
export class TupleBuffer {
  #sources: Uint16Array
  #roots: Float64Array
  #ids: Uint32Array
  #values: unknown[] = []
  readonly #countMax: number

  constructor(countMax: number) {
    this.#countMax = countMax
    this.#sources = new Uint16Array(countMax)
    this.#roots = new Float64Array(countMax)
    this.#ids = new Uint32Array(2 * countMax)
  }

  get count(): number {
    return this.#values.length
  }

  get isFull(): boolean {
    return this.#values.length >= this.#countMax
  }

  add(value: unknown, about: { source: number; root: number; high: number; low: number }): void {
    const index = this.#values.length
    this.#sources[index] = about.source
    this.#roots[index] = about.root
    this.#ids[2 * index] = about.high
    this.#ids[2 * index + 1] = about.low
    this.#values.push(value)
  }

  /** Empties it. */
  take(): Tuples {
    const values = this.#values
    this.#values = []
    return {
      kind: 'tuples',
      sources: this.#sources.slice(0, values.length),
      roots: this.#roots.slice(0, values.length),
      ids: this.#ids.slice(0, 2 * values.length),
      values
    }
  }
}
