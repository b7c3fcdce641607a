// Fields in bytes, one after the other: what codecs are made of.

import { MeshError } from '../../base/errors.ts'
import { KIB } from '../../base/units.ts'

/** Arrays of their own cost more than all the rest; so what is written stands in larger ones. */
const SLAB_BYTES: number = 16 * KIB

/** Collects bytes. Reusable: `take` begins anew. */
export class Writer {
  #slab = new Uint8Array(SLAB_BYTES)
  #start = 0
  #end = 0

  byte(value: number): void {
    this.#reserve(1)
    this.#slab[this.#end++] = value
  }

  /** Seven bits a byte, the lowest first. @throws invalid-argument unless a safe integer ≥ 0. */
  uint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new MeshError('invalid-argument', `${value} is no whole number from 0 to 2^53 - 1`)
    }
    this.#reserve(8)
    let rest = value
    while (rest >= 0x80) {
      this.#slab[this.#end++] = 0x80 | (rest % 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.#slab[this.#end++] = rest
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#slab.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** @returns what was written; a view that nobody writes to any more. */
  take(): Uint8Array {
    const bytes = this.#slab.subarray(this.#start, this.#end)
    this.#start = this.#end
    return bytes
  }

  /** Forgets what was written since the last `take`. */
  clear(): void {
    this.#end = this.#start
  }

  #reserve(count: number): void {
    if (this.#end + count <= this.#slab.length) return
    const written = this.#slab.subarray(this.#start, this.#end)
    this.#slab = new Uint8Array(Math.max(SLAB_BYTES, 2 * (written.length + count)))
    this.#slab.set(written)
    this.#start = 0
    this.#end = written.length
  }
}

/** Takes bytes apart, from the first on. Every method throws invalid-data when they don't fit. */
export class Reader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#offset
  }

  byte(): number {
    const value = this.#bytes[this.#offset]
    if (value === undefined) throw malformed('the bytes end too early')
    this.#offset += 1
    return value
  }

  uint(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < 8; count++) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (byte === 0 && count > 0) throw malformed('a number is longer than it must be')
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
      scale *= 0x80
    }
    throw malformed('a number is above 2^53 - 1')
  }

  /** @returns a view: who keeps it for long copies it. */
  raw(count: number): Uint8Array {
    if (count > this.left) throw malformed('the bytes end too early')
    this.#offset += count
    return this.#bytes.subarray(this.#offset - count, this.#offset)
  }

  end(): void {
    if (this.left > 0) throw malformed(`${this.left} bytes are left over`)
  }
}

export function malformed(problem: string): MeshError {
  return new MeshError('invalid-data', `Cannot decode: ${problem}`)
}
