// Protobuf by hand, for the few messages that are written and read for every entry of every log. The
// rest goes through `proto.ts`. (protobuf.dev, "Encoding"; test/wire/raft.test.ts holds it to the
// schema.)

import { malformed } from './proto.ts'

const VARINT = 0
const LENGTH_DELIMITED = 2
const LOW_BITS = 0x80

/** Writes fields one after another. Fields of the default value are left out, as proto3 does. */
export class ProtoWriter {
  #bytes: Uint8Array
  #length = 0

  /** @param bytesExpected room to begin with; it grows */
  constructor(bytesExpected = 128) {
    this.#bytes = new Uint8Array(bytesExpected)
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
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  packed(field: number, values: readonly number[]): void {
    if (values.length === 0) return
    const inner = new ProtoWriter(values.length * 2)
    for (const value of values) inner.#varint(value)
    this.bytes(field, inner.finish())
  }

  /** @returns what was written; a view that nobody else has. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #varint(value: number): void {
    this.#reserve(8)
    let rest = value
    while (rest >= LOW_BITS) {
      this.#bytes[this.#length++] = (rest % LOW_BITS) + LOW_BITS
      rest = Math.floor(rest / LOW_BITS)
    }
    this.#bytes[this.#length++] = rest
  }

  #reserve(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
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
export function* readFields(bytes: Uint8Array, what: string): Generator<ProtoField, void> {
  let offset = 0
  const varint = (): number => {
    let value = 0
    let factor = 1
    for (let count = 0; count < 8; count++) {
      const byte = bytes[offset++]
      if (byte === undefined) throw malformed(what, 'it is cut off')
      value += (byte % LOW_BITS) * factor
      if (byte < LOW_BITS) {
        if (!Number.isSafeInteger(value)) break
        return value
      }
      factor *= LOW_BITS
    }
    throw malformed(what, 'a number is out of range')
  }
  while (offset < bytes.length) {
    const tag = varint()
    const field = Math.floor(tag / 8)
    const kind = tag % 8
    if (field === 0) throw malformed(what, 'a field has no number')
    if (kind === VARINT) {
      yield { field, kind: 'number', number: varint() }
    } else if (kind === LENGTH_DELIMITED) {
      const length = varint()
      if (length > bytes.length - offset) throw malformed(what, 'a field is cut off')
      yield { field, kind: 'bytes', bytes: bytes.subarray(offset, offset + length) }
      offset += length
    } else {
      throw malformed(what, `field ${field} is of no kind that is used here`)
    }
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
