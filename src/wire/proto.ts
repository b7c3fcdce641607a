// Protobuf bytes with Atoll's errors: every codec of this layer goes through here.

import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape
} from '@bufbuild/protobuf'
import { errorMessage, MeshError } from '../base/errors.ts'
import { toHex } from '../base/bytes.ts'

/** @returns the encoded message, a new array. */
export function encode<T extends DescMessage>(schema: T, value: MessageInitShape<T>): Uint8Array {
  return toBinary(schema, create(schema, value))
}

/**
 * Fields of type `bytes` are views of `bytes`. Unknown fields are dropped.
 *
 * @throws invalid-data when `bytes` is not such a message.
 */
export function decode<T extends DescMessage>(schema: T, bytes: Uint8Array): MessageShape<T> {
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false })
  } catch (error) {
    throw malformed(schema.typeName, errorMessage(error), error)
  }
}

/** @returns an invalid-data error that names the message and what is wrong with it. */
export function malformed(what: string, why: string, cause?: unknown): MeshError {
  return new MeshError('invalid-data', `Malformed ${what}: ${why}`, { cause })
}

/** @returns the number. @throws invalid-data beyond the safe integers. */
export function toSafeInteger(value: bigint, what: string): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw malformed(what, `${value} is out of range`)
  return Number(value)
}

/** @returns lower-case hexadecimal. @throws invalid-data unless there are `length` bytes. */
export function toHexOfLength(bytes: Uint8Array, length: number, what: string): string {
  if (bytes.length !== length) throw malformed(what, `it has ${bytes.length} bytes, not ${length}`)
  return toHex(bytes)
}

/** @returns the bytes of hexadecimal text that was made by `toHex`. */
export function hexToBytes(text: string): Uint8Array {
  return Uint8Array.from({ length: text.length / 2 }, (_, index) =>
    Number.parseInt(text.slice(2 * index, 2 * index + 2), 16)
  )
}
