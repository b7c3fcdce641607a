// Less work for each message of noise. As it comes, it gives OpenSSL its key as bytes, which Node.js
// finds out by an exception and makes an object of, and looks for the length of the next message where
// there is none, for another exception: together more than the ciphers. Both are seen to from outside,
// and left alone should a new version look otherwise.

import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import type { ConnectionEncrypter } from '@libp2p/interface'

const ALGORITHM = 'chacha20-poly1305'
const TAG_BYTES = 16
const OPTIONS = { authTagLength: TAG_BYTES } as const
/** Shorter ones are faster by what noise has for them, which needs no call of OpenSSL. */
const BYTES_MIN = 512
/** Of longer ones that come in parts, joining them would cost more than it saves. */
const BYTES_MAX = 16_384

/** An array, or a list of them, of which `subarray` makes one. */
type Bytes = { readonly byteLength: number; subarray(): Uint8Array }
/** Nonce, what is authenticated besides, key, and where the result may go. */
type Sealing = [Uint8Array, Uint8Array, Uint8Array, Uint8Array?]
type Cipher = (text: Bytes, ...rest: Sealing) => unknown
type Ciphers = { encrypt: Cipher; decrypt: Cipher }

/** Makes an encrypter use key objects, and no exceptions. */
export function withQuickNoise<Components>(
  create: (components: Components) => ConnectionEncrypter
): (components: Components) => ConnectionEncrypter {
  return (components) => {
    const encrypter = create(components)
    const { crypto } = encrypter as { crypto?: Partial<Ciphers> }
    if (typeof crypto?.encrypt === 'function' && typeof crypto.decrypt === 'function') {
      useKeyObjects(crypto as Ciphers)
    }
    const secureInbound = encrypter.secureInbound.bind(encrypter)
    const secureOutbound = encrypter.secureOutbound.bind(encrypter)
    encrypter.secureInbound = async (connection, options) =>
      withoutExceptions(await secureInbound(connection, options))
    encrypter.secureOutbound = async (connection, options) =>
      withoutExceptions(await secureOutbound(connection, options))
    return encrypter
  }
}

function useKeyObjects(ciphers: Ciphers): void {
  const { encrypt, decrypt } = ciphers
  const objects = new WeakMap<Uint8Array, KeyObject>()
  const objectOf = (key: Uint8Array): KeyObject => {
    const known = objects.get(key)
    if (known !== undefined) return known
    const made = createSecretKey(key)
    objects.set(key, made)
    return made
  }
  ciphers.encrypt = (text, ...rest) => {
    const [nonce, besides, key] = rest
    const isOurs = isMiddling(text) && besides.length === 0
    return isOurs ? sealed(text, nonce, objectOf(key)) : encrypt(text, ...rest)
  }
  ciphers.decrypt = (text, ...rest) => {
    const [nonce, besides, key] = rest
    const isOurs = isMiddling(text) && besides.length === 0
    return isOurs ? opened(text, nonce, objectOf(key)) : decrypt(text, ...rest)
  }
}

function isMiddling({ byteLength }: Bytes): boolean {
  return byteLength >= BYTES_MIN && byteLength <= BYTES_MAX
}

function sealed(text: Bytes, nonce: Uint8Array, key: KeyObject): Uint8Array {
  const cipher = createCipheriv(ALGORITHM, key, nonce, OPTIONS)
  const body = cipher.update(text.subarray())
  cipher.final()
  return Buffer.concat([body, cipher.getAuthTag()], body.length + TAG_BYTES)
}

/** @throws when it was changed on its way */
function opened(text: Bytes, nonce: Uint8Array, key: KeyObject): Uint8Array {
  const bytes = text.subarray()
  const decipher = createDecipheriv(ALGORITHM, key, nonce, OPTIONS)
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES))
  const body = decipher.update(bytes.subarray(0, bytes.length - TAG_BYTES))
  decipher.final()
  return body
}

type Decoding = {
  decoder?: { lengthDecoder?: (buffer: { readonly byteLength: number }) => number }
}

/** Thrown again and again: what costs is where it was made. */
const TOO_SHORT = new RangeError('There is no length yet')
const LENGTH_BYTES = 2

function withoutExceptions<Secured extends { readonly connection: unknown }>(
  secured: Secured
): Secured {
  const { decoder } = secured.connection as Decoding
  const lengthOf = decoder?.lengthDecoder
  if (decoder !== undefined && typeof lengthOf === 'function') {
    decoder.lengthDecoder = (buffer) => {
      if (buffer.byteLength < LENGTH_BYTES) throw TOO_SHORT
      return lengthOf(buffer)
    }
  }
  return secured
}
