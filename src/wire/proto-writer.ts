// Protobuf by hand, for the few messages that are written and read for every entry of every log. The
// rest goes through `proto.ts`. (protobuf.dev, "Encoding"; test/wire/raft.test.ts holds it to the
// schema.)

import { KIB } from '../base/units.ts'
import { malformed } from './proto.ts'

const VARINT = 0
const LENGTH_DELIMITED = 2
const LOW_BITS = 0x80

/** An array of its own costs more than a small message; so messages stand in larger ones. */
const SLAB_BYTES: number = 64 * KIB

let slab: Uint8Array = new Uint8Array(SLAB_BYTES)
let slabUsed = 0

/** Writes fields one after another. Fields of the default value are left out, as proto3 does. */
export class ProtoWriter {
  /** A slab, of which the part from `#start` to `#limit` is this writer's. */
  #bytes: Uint8Array = slab
  #start = 0
  #end = 0
  #limit = 0

  /** @param bytesExpected room to begin with; it grows */
  constructor(bytesExpected = 128) {
    this.#take(bytesExpected)
  }

  uint(field: number, value: number): void {
    if (value === 0) return
    this.#varint(field * 8 + VARINT)
    this.#varint(value)
  }

  bool(field: number, value: boolean): void {
    if (value) this.uint(field, 1)
  }

  /** Bytes, or a message within this one. */
  bytes(field: number, value: Uint8Array): void {
    if (value.length > 0) this.present(field, value)
  }

  /** As {@link bytes}, also when there are none: for what is there or not. */
  present(field: number, value: Uint8Array): void {
    this.#varint(field * 8 + LENGTH_DELIMITED)
    this.#varint(value.length)
    this.#reserve(value.length)
    this.#bytes.set(value, this.#end)
    this.#end += value.length
  }

  packed(field: number, values: readonly number[]): void {
    if (values.length === 0) return
    const inner = new ProtoWriter(values.length * 2)
    for (const value of values) inner.#varint(value)
    this.bytes(field, inner.finish())
  }

  /** @returns what was written; a view of bytes that nobody writes to. Nothing more can be added. */
  finish(): Uint8Array {
    // What it didn't need is the next one's, unless somebody begins behind it.
    if (this.#isLast) slabUsed = this.#end
    this.#limit = this.#end
    return this.#bytes.subarray(this.#start, this.#end)
  }

  #varint(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest >= LOW_BITS) {
      this.#bytes[this.#end++] = (rest % LOW_BITS) + LOW_BITS
      rest = Math.floor(rest / LOW_BITS)
    }
    this.#bytes[this.#end++] = rest
  }

  get #isLast(): boolean {
    return this.#bytes === slab && this.#limit === slabUsed
  }

  #reserve(more: number): void {
    const needed = this.#end + more
    if (needed <= this.#limit) return
    if (this.#isLast && needed <= slab.length) {
      this.#limit = needed
      slabUsed = needed
      return
    }
    const written = this.#bytes.subarray(this.#start, this.#end)
    this.#take(2 * (written.length + more))
    this.#bytes.set(written, this.#start)
    this.#end += written.length
  }

  #take(length: number): void {
    if (slabUsed + length > slab.length) {
      slab = new Uint8Array(Math.max(SLAB_BYTES, length))
      slabUsed = 0
    }
    this.#bytes = slab
    this.#start = slabUsed
    this.#end = slabUsed
    slabUsed += length
    this.#limit = slabUsed
  }
}

/** One field of a message: its number, and its value as one of two kinds. */
export type ProtoField =
  | { readonly field: number; readonly kind: 'number'; readonly number: number }
  | { readonly field: number; readonly kind: 'bytes'; readonly bytes: Uint8Array }

/**
 * Reads the fields of a message in the order in which they stand. Bytes are views. Fixed-width
 * fields, which no message of ours has, are refused.
 *
 * @throws invalid-data for bytes that are no message, or a number beyond the safe integers
 */
export function readFields(bytes: Uint8Array, what: string): Iterable<ProtoField> {
  return new FieldReader(bytes, what)
}

/** Not a generator, which would make one more object for each field, and is slower. */
class FieldReader implements Iterable<ProtoField>, Iterator<ProtoField> {
  readonly #bytes: Uint8Array
  readonly #what: string
  readonly #result: { done: boolean; value: ProtoField | undefined } = {
    done: false,
    value: undefined
  }
  #offset = 0

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes
    this.#what = what
  }

  [Symbol.iterator](): this {
    return this
  }

  next(): IteratorResult<ProtoField> {
    const result = this.#result
    result.done = this.#offset >= this.#bytes.length
    result.value = result.done ? undefined : this.#read()
    return result as IteratorResult<ProtoField>
  }

  #read(): ProtoField {
    const bytes = this.#bytes
    const tag = this.#varint()
    const field = Math.floor(tag / 8)
    if (field === 0) throw malformed(this.#what, 'a field has no number')
    const kind = tag % 8
    if (kind === VARINT) return { field, kind: 'number', number: this.#varint() }
    if (kind !== LENGTH_DELIMITED) {
      throw malformed(this.#what, `field ${field} is of no kind that is used here`)
    }
    const length = this.#varint()
    const from = this.#offset
    if (length > bytes.length - from) throw malformed(this.#what, 'a field is cut off')
    this.#offset = from + length
    return { field, kind: 'bytes', bytes: bytes.subarray(from, this.#offset) }
  }

  #varint(): number {
    let value = 0
    let factor = 1
    for (let count = 0; count < 8; count++) {
      const byte = this.#bytes[this.#offset++]
      if (byte === undefined) throw malformed(this.#what, 'it is cut off')
      value += (byte % LOW_BITS) * factor
      if (byte < LOW_BITS) {
        if (!Number.isSafeInteger(value)) break
        return value
      }
      factor *= LOW_BITS
    }
    throw malformed(this.#what, 'a number is out of range')
  }
}

/** @returns the numbers of a packed field. @throws invalid-data */
export function readPacked(bytes: Uint8Array, what: string): number[] {
  const values: number[] = []
  let value = 0
  let factor = 1
  for (const byte of bytes) {
    value += (byte % LOW_BITS) * factor
    if (!Number.isSafeInteger(value) || factor > Number.MAX_SAFE_INTEGER) {
      throw malformed(what, 'a number is out of range')
    }
    if (byte < LOW_BITS) {
      values.push(value)
      value = 0
      factor = 1
    } else {
      factor *= LOW_BITS
    }
  }
  if (factor !== 1) throw malformed(what, 'it is cut off')
  return values
}
