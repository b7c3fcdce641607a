// The links of a dag-pb block, the inner nodes of files, as IPFS has them.

import { BLOCK_ID_BYTES, blockIdFromBytes, CODEC_DAG_PB } from '../core/block/block-id.ts'
import { concatBytes } from '../base/bytes.ts'
import { isMeshError } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import { malformed } from './proto.ts'

const LENGTH_DELIMITED = 2
/** Field of PBNode. */
const LINKS = 2
/** Field of PBLink. */
const HASH = 1
/** A CID of version 0 is its multihash alone. */
const MULTIHASH_BYTES = 34

/**
 * @returns what an inner node refers to, in order.
 * @throws invalid-data unless all of it is understood: a link that is overlooked is a block lost
 */
export function linksOf(block: Uint8Array): BlockId[] {
  return fieldsOf(block)
    .filter(({ number }) => number === LINKS)
    .map(({ bytes }) => {
      const hashes = fieldsOf(bytes).filter(({ number }) => number === HASH)
      const hash = hashes[0]?.bytes
      if (hash === undefined || hashes.length !== 1) throw wrong('a link has no hash')
      return idOf(hash)
    })
}

function idOf(hash: Uint8Array): BlockId {
  const isOld = hash.length === MULTIHASH_BYTES
  const bytes = isOld ? concatBytes([Uint8Array.of(1, CODEC_DAG_PB), hash]) : hash
  if (bytes.length !== BLOCK_ID_BYTES) throw wrong('a link is of a kind that is not stored here')
  try {
    return blockIdFromBytes(bytes)
  } catch (error) {
    if (isMeshError(error)) throw wrong(error.message)
    throw error
  }
}

type Field = { readonly number: number; readonly bytes: Uint8Array }

/** Fields of numbers have no bytes. */
function fieldsOf(message: Uint8Array): Field[] {
  const fields: Field[] = []
  let offset = 0
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 0x80) {
      const byte = message[offset++]
      if (byte === undefined || scale > 2 ** 49) throw wrong('a number is cut off or too large')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  while (offset < message.length) {
    const tag = varint()
    const type = tag & 7
    let bytes = new Uint8Array(0)
    if (type === LENGTH_DELIMITED) {
      const end = varint() + offset
      if (end > message.length) throw wrong('a field is cut off')
      bytes = message.slice(offset, end)
      offset = end
    } else if (type === 0) varint()
    else throw wrong(`a field is of type ${type}`)
    fields.push({ number: Math.floor(tag / 8), bytes })
  }
  return fields
}

function wrong(why: string): Error {
  return malformed('dag-pb block', why)
}
