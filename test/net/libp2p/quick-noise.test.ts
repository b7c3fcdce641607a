import { pureJsCrypto } from '@libp2p/noise'
import type { ConnectionEncrypter } from '@libp2p/interface'
import { expect, it } from 'vitest'
import { withQuickNoise } from '../../../src/net/libp2p/quick-noise.ts'

type Bytes = Uint8Array
const NONE = new Uint8Array(0)

function ciphersOf() {
  type Four = [Bytes, Bytes, Bytes, Bytes]
  const crypto = {
    encrypt: (...all: Four) => pureJsCrypto.chaCha20Poly1305Encrypt(...all),
    decrypt: (...all: Four) => pureJsCrypto.chaCha20Poly1305Decrypt(...all)
  }
  const encrypter = {
    crypto,
    secureInbound: async (connection: unknown) => ({ connection }),
    secureOutbound: async (connection: unknown) => ({ connection })
  }
  withQuickNoise(() => encrypter as unknown as ConnectionEncrypter)({})
  return { crypto, encrypter }
}

it('messages of all lengths are what noise makes of them, and come back', () => {
  const { crypto } = ciphersOf()
  const key = Uint8Array.from({ length: 32 }, (_, index) => index)
  for (const length of [0, 1, 511, 512, 1_200, 16_384, 16_385, 65_519]) {
    const nonce = new Uint8Array(12).fill(length & 255)
    const text = Uint8Array.from({ length }, (_, index) => index * 7)
    const sent = (crypto.encrypt(text, nonce, NONE, key) as Bytes).slice()
    const wanted = pureJsCrypto.chaCha20Poly1305Encrypt(text, nonce, NONE, key) as Bytes
    expect(Buffer.compare(sent, wanted)).toBe(0)
    const got = crypto.decrypt(sent, nonce, NONE, key) as Bytes
    expect(Buffer.compare(got, text)).toBe(0)
  }
})

it('a message that was changed on its way is refused', () => {
  const { crypto } = ciphersOf()
  const [key, nonce] = [new Uint8Array(32).fill(1), new Uint8Array(12)]
  const sent = Buffer.from(crypto.encrypt(new Uint8Array(2_000), nonce, NONE, key) as Bytes)
  sent[700] = (sent[700] as number) ^ 1
  expect(() => crypto.decrypt(sent, nonce, NONE, key)).toThrow()
})

it('a length that is not there yet is told by an exception that was made before', async () => {
  const { encrypter } = ciphersOf()
  const lengthDecoder = (buffer: { byteLength: number }): number => buffer.byteLength
  const { connection } = (await encrypter.secureInbound({ decoder: { lengthDecoder } })) as {
    connection: { decoder: { lengthDecoder: typeof lengthDecoder } }
  }
  const thrown = new Set<unknown>()
  for (const byteLength of [0, 1, 0]) {
    try {
      connection.decoder.lengthDecoder({ byteLength })
    } catch (error) {
      thrown.add(error)
    }
  }
  expect([...thrown]).toHaveLength(1)
  expect([...thrown][0]).toBeInstanceOf(RangeError)
  expect(connection.decoder.lengthDecoder({ byteLength: 2 })).toBe(2)
})
