// The state machine of a simulated replica: a hash over all that it has applied. Two machines that
// show the same have applied the same entries in the same order.

import { EMPTY_CONFIG_STATE } from '../../../src/core/raft/messages.ts'
import type { ConfigState, Entry } from '../../../src/core/raft/messages.ts'

/** All that a machine is; what a snapshot carries. */
export type MachineState = {
  readonly applied: number
  readonly hash: number
  readonly configState: ConfigState
}

/** A change of members that carries this byte is void: the drivers decide not to make it. */
export const VOID_CONTEXT = 0xff

export const EMPTY_MACHINE: MachineState = { applied: 0, hash: 0, configState: EMPTY_CONFIG_STATE }

/** @returns the hash after an entry. */
export function hashAfter(hash: number, entry: Entry): number {
  let next = mix(mix(hash, entry.index), entry.term)
  if (entry.type === 'normal') {
    for (const byte of entry.data) next = mix(next, byte)
    return next
  }
  for (const { type, id } of entry.change.steps) next = mix(mix(next, type.length), id)
  return mix(next, entry.change.transition.length)
}

function mix(hash: number, value: number): number {
  const mixed = Math.imul(hash ^ value, 0x01000193)
  return (mixed ^ (mixed >>> 15)) >>> 0
}

/** @returns a number as bytes: what proposals, reads and snapshots of a simulation carry. */
export function bytesOfNumber(value: number, length = 4): Uint8Array {
  const bytes = new Uint8Array(Math.max(4, length))
  for (let at = 0; at < 4; at++) bytes[at] = (value >>> (at * 8)) & 0xff
  return bytes
}

export function numberOfBytes(bytes: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0
}

/** @returns the number that a client's entry carries; undefined for other entries */
export function numberOfEntry(entry: Entry): number | undefined {
  return entry.type === 'normal' && entry.data.length > 0 ? numberOfBytes(entry.data) : undefined
}
