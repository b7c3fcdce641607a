// Names that must not be mixed up, as branded strings, each made by its parser only.

import { MeshError } from './errors.ts'

declare const brand: unique symbol
type Branded<Name extends string> = string & { readonly [brand]: Name }

/** A libp2p identity in its text form, such as `12D3KooW…`. */
export type PeerId = Branded<'PeerId'>
/** The hash of a mesh's genesis record: 64 lower-case hexadecimal digits. */
export type MeshId = Branded<'MeshId'>
/** Drawn at random when a data folder is made: 32 lower-case hexadecimal digits. */
export type StoreId = Branded<'StoreId'>
/** Drawn at random at each start of a node: 16 lower-case hexadecimal digits. */
export type SessionId = Branded<'SessionId'>
/** A block's name: its CID (version 1, raw or dag-pb, sha2-256) in base32 text form. */
export type BlockId = Branded<'BlockId'>

function check(text: string, pattern: RegExp, what: string): string {
  if (!pattern.test(text)) {
    throw new MeshError('invalid-argument', `"${text.slice(0, 80)}" is not a ${what}`)
  }
  return text
}

/** @throws invalid-argument unless `text` is 1 to 128 letters and digits. */
export function peerId(text: string): PeerId {
  return check(text, /^[A-Za-z0-9]{1,128}$/, 'peer id') as PeerId
}

/** @throws invalid-argument unless `text` is 64 hexadecimal digits. */
export function meshId(text: string): MeshId {
  return check(text, /^[0-9a-f]{64}$/, 'mesh id') as MeshId
}

/** @throws invalid-argument unless `text` is 32 hexadecimal digits. */
export function storeId(text: string): StoreId {
  return check(text, /^[0-9a-f]{32}$/, 'store id') as StoreId
}

/** @throws invalid-argument unless `text` is 16 hexadecimal digits. */
export function sessionId(text: string): SessionId {
  return check(text, /^[0-9a-f]{16}$/, 'session id') as SessionId
}

/** @throws invalid-argument unless `text` looks like a base32 CIDv1; its hash is checked by `core/block`. */
export function blockId(text: string): BlockId {
  return check(text, /^b[a-z2-7]{58}$/, 'block id') as BlockId
}

/** Orders strings by code unit, never by locale. For ids in ASCII that is the order of their bytes. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
