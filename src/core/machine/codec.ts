// Plain values to bytes and back: the form of commands, answers and stored records. Each value has
// exactly one encoding, so equal states are equal bytes. A length is compared before it allocates.

import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'

/** Collects bytes. Reusable: `take` empties it. */
class Writer {
  #bytes = new Uint8Array(256)
  #length = 0

  byte(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
  }

  /** Seven bits a byte, the lowest first. @throws invalid-argument unless a safe integer ≥ 0. */
  uint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new MeshError('invalid-argument', `${value} is no whole number from 0 to 2^53 - 1`)
    }
    this.#reserve(8)
    let rest = value
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = 0x80 | (rest % 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.#bytes[this.#length++] = rest
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** @returns what was written, a new array, and forgets it. */
  take(): Uint8Array {
    const bytes = this.#bytes.slice(0, this.#length)
    this.#length = 0
    return bytes
  }

  /** Forgets what was written. */
  clear(): void {
    this.#length = 0
  }

  #reserve(count: number): void {
    const wanted = this.#length + count
    if (wanted <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(wanted, 2 * this.#bytes.length))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}

/** Takes bytes apart, from the first on. Every method throws invalid-data when they don't fit. */
class Reader {
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

  /** @returns a copy. */
  raw(count: number): Uint8Array {
    if (count > this.left) throw malformed('the bytes end too early')
    this.#offset += count
    return this.#bytes.slice(this.#offset - count, this.#offset)
  }

  end(): void {
    if (this.left > 0) throw malformed(`${this.left} bytes are left over`)
  }
}

/** How values of one form are written and read. `read(write(x))` is x; what is refused is `T`'s bounds. */
export type Codec<T> = {
  write(writer: Writer, value: T): void
  read(reader: Reader): T
}

const shared = new Writer()

/** @throws invalid-argument or too-large when the value is outside of the codec's bounds. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  shared.clear()
  codec.write(shared, value)
  return shared.take()
}

/** @throws invalid-data unless the bytes are one value, from the first to the last. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes)
  const value = codec.read(reader)
  reader.end()
  return value
}

export const uint: Codec<number> = {
  write: (writer, value) => writer.uint(value),
  read: (reader) => reader.uint()
}

/** No bytes. */
export const nothing: Codec<undefined> = { write: () => undefined, read: () => undefined }

export const flag: Codec<boolean> = {
  write: (writer, value) => writer.byte(value ? 1 : 0),
  read: (reader) => {
    const byte = reader.byte()
    if (byte > 1) throw malformed('a flag is neither 0 nor 1')
    return byte === 1
  }
}

/** @param bytesMax the longest array that is written or read. */
export function bytes(bytesMax: number): Codec<Uint8Array> {
  return {
    write: (writer, value) => {
      if (value.length > bytesMax) throw tooLarge(value.length, bytesMax, 'bytes')
      writer.uint(value.length)
      writer.raw(value)
    },
    read: (reader) => {
      const length = reader.uint()
      if (length > bytesMax) throw malformed(`a field has ${length} bytes, above ${bytesMax}`)
      return reader.raw(length)
    }
  }
}

/** @param bytesMax of its UTF-8 form. */
export function text(bytesMax: number): Codec<string> {
  const field = bytes(bytesMax)
  return {
    write: (writer, value) => field.write(writer, utf8(value)),
    read: (reader) => {
      const raw = field.read(reader)
      const value = textOf(raw)
      // A mark of byte order is dropped by the decoder: two encodings of one text.
      if (value === undefined || utf8(value).length !== raw.length) throw malformed('not UTF-8')
      return value
    }
  }
}

export function list<T>(item: Codec<T>, countMax: number): Codec<readonly T[]> {
  return {
    write: (writer, values) => {
      if (values.length > countMax) throw tooLarge(values.length, countMax, 'items')
      writer.uint(values.length)
      for (const value of values) item.write(writer, value)
    },
    read: (reader) => {
      const count = reader.uint()
      if (count > countMax) throw malformed(`a list has ${count} items, above ${countMax}`)
      const values: T[] = []
      for (let index = 0; index < count; index++) values.push(item.read(reader))
      return values
    }
  }
}

export function optional<T>(codec: Codec<T>): Codec<T | undefined> {
  return {
    write: (writer, value) => {
      writer.byte(value === undefined ? 0 : 1)
      if (value !== undefined) codec.write(writer, value)
    },
    read: (reader) => (flag.read(reader) ? codec.read(reader) : undefined)
  }
}

/** Fields in the order in which they are given. */
export function record<T extends object>(fields: {
  readonly [K in keyof T]-?: Codec<T[K]>
}): Codec<T> {
  const entries = Object.entries(fields) as [keyof T, Codec<T[keyof T]>][]
  return {
    write: (writer, value) => {
      for (const [name, codec] of entries) codec.write(writer, value[name])
    },
    read: (reader) => {
      const value: Partial<T> = {}
      for (const [name, codec] of entries) value[name] = codec.read(reader)
      return value as T
    }
  }
}

/** One of some names; its place in the list is its byte, so names are only ever added. */
export function oneOf<const T extends string>(names: readonly T[]): Codec<T> {
  return {
    write: (writer, value) => writer.byte(names.indexOf(value)),
    read: (reader) => {
      const value = names[reader.byte()]
      if (value === undefined) throw malformed('a field has an unknown value')
      return value
    }
  }
}

type Variants<T extends { readonly kind: string }> = {
  readonly [K in T['kind']]: Codec<Omit<Extract<T, { kind: K }>, 'kind'>>
}

/** A union told apart by `kind`; its place in the object is its byte, so variants are only added. */
export function variant<T extends { readonly kind: string }>(variants: Variants<T>): Codec<T> {
  const kinds = Object.keys(variants) as T['kind'][]
  const codecs = Object.values<Codec<object>>(variants)
  return {
    write: (writer, value) => {
      const place = kinds.indexOf(value.kind)
      const codec = codecs[place]
      if (codec === undefined) {
        throw new MeshError('invalid-argument', `"${value.kind}" is none of ${kinds.join(', ')}`)
      }
      writer.byte(place)
      codec.write(writer, value)
    },
    read: (reader) => {
      const place = reader.byte()
      const codec = codecs[place]
      if (codec === undefined) throw malformed('a field is of an unknown kind')
      return { kind: kinds[place], ...codec.read(reader) } as T
    }
  }
}

function textOf(raw: Uint8Array): string | undefined {
  try {
    return fromUtf8(raw)
  } catch {
    return undefined
  }
}

function malformed(problem: string): MeshError {
  return new MeshError('invalid-data', `Cannot decode: ${problem}`)
}

function tooLarge(found: number, accepted: number, unit: string): MeshError {
  return new MeshError(
    'too-large',
    `A field has ${found} ${unit}; at most ${accepted} are accepted`
  )
}
