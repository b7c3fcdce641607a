// Plain values to bytes and back: the form of commands, answers and stored records. Each value has
// exactly one encoding, so equal states are equal bytes. A length is compared before it allocates.

import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { Reader, Writer, malformed } from './byte-fields.ts'

/** How values of one form are written and read. `read(write(x))` is x; what is refused is `T`'s bounds. */
export type Codec<T> = {
  write(writer: Writer, value: T): void
  read(reader: Reader): T
}

const shared = new Writer()

/**
 * @returns a view of an array with other things in it; who keeps it for long copies it.
 * @throws invalid-argument or too-large when the value is outside of the codec's bounds.
 */
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

/** Texts of ASCII, such as names: faster than others. */
export function label(lengthMax: number): Codec<string> {
  return {
    write: (writer, value) => {
      if (value.length > lengthMax) throw tooLarge(value.length, lengthMax, 'characters')
      writer.byte(value.length)
      for (let index = 0; index < value.length; index++) {
        const code = value.charCodeAt(index)
        if (code >= 0x80) throw new MeshError('invalid-argument', `"${value}" is not ASCII`)
        writer.byte(code)
      }
    },
    read: (reader) => {
      const length = reader.byte()
      if (length > lengthMax) throw malformed(`a label has ${length} bytes, above ${lengthMax}`)
      let value = ''
      for (let index = 0; index < length; index++) {
        const code = reader.byte()
        if (code >= 0x80) throw malformed('a label is not ASCII')
        value += String.fromCharCode(code)
      }
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
  const entries = (Object.entries(fields) as [keyof T, Codec<T[keyof T]>][]).map(
    ([name, codec]) => ({ name, codec })
  )
  return {
    write: (writer, value) => {
      for (const { name, codec } of entries) codec.write(writer, value[name])
    },
    read: (reader) => {
      const value: Partial<T> = {}
      for (const { name, codec } of entries) value[name] = codec.read(reader)
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

function tooLarge(found: number, accepted: number, unit: string): MeshError {
  return new MeshError(
    'too-large',
    `A field has ${found} ${unit}; at most ${accepted} are accepted`
  )
}
