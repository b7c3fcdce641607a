// Bytes that somebody else has encoded and yet another will decode.

import type { Codec } from '../../core/machine/codec.ts'

export const rawCodec: Codec<Uint8Array> = {
  write: (writer, value) => writer.raw(value),
  read: (reader) => reader.raw(reader.left)
}
