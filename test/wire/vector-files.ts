// The golden messages of protocols/*/vectors.json.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { CODECS, type Codec } from './codecs.ts'

/** Every protocol folder. */
export const PROTOCOLS_URL: URL = new URL('../../protocols/', import.meta.url)

type Vector = { name: string; message: string; hex: string; asked?: number; frameBytesMax?: number }
type Golden = Vector & { value: unknown }
type Refused = Vector & { code: string }

export type Vectors = {
  protocol: string
  /** The one encoding of a value: both ways. */
  golden: readonly Golden[]
  /** Other bytes that decode to a value: one way. */
  accepted: readonly Golden[]
  /** Bytes that must be refused, and with which code. */
  refused: readonly Refused[]
}

/** @returns the names of all folders of protocols/. */
export function protocolFolders(): string[] {
  return readdirSync(PROTOCOLS_URL, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
}

export function readVectors(protocol: string): Vectors {
  const text = readFileSync(new URL(`${protocol}/vectors.json`, PROTOCOLS_URL), 'utf8')
  return { protocol, ...(JSON.parse(text) as Omit<Vectors, 'protocol'>) }
}

export function allVectors(): Vectors[] {
  return protocolFolders()
    .filter((name) => existsSync(new URL(`${name}/vectors.json`, PROTOCOLS_URL)))
    .map(readVectors)
}

export function codecOf(protocol: string, message: string): Codec {
  const codec = CODECS[protocol]?.[message]
  if (codec === undefined) throw new Error(`No codec for ${protocol} ${message}`)
  return codec
}

export function bytesOf({ hex }: { hex: string }): Uint8Array {
  if (!/^([0-9a-f]{2})*$/.test(hex)) throw new Error(`Not lower-case hexadecimal: ${hex}`)
  return Uint8Array.from(Buffer.from(hex, 'hex'))
}
