// A shard's state as a whole: it is nothing but its pairs in order, so that is what a snapshot has.

import { MeshError } from '../../base/errors.ts'
import { STORED_KEY_BYTES_MAX, compareBytes } from './ordered-state.ts'
import type { OrderedReads, OrderedState, Pair } from './ordered-state.ts'
import { decodeMeta } from './records.ts'
import { META_KEY } from './state-keys.ts'

/** @returns all pairs in order. Read it from a snapshot of the store: entries may be applied. */
export function exportState(state: OrderedReads): Iterable<Pair> {
  return state.range({})
}

/**
 * Replaces a state. The driver commits when it returns, drops its transaction when it throws, and
 * calls `reload` of the machine either way.
 *
 * @throws invalid-data when the pairs aren't a state; version-mismatch when they are of a newer
 *   program
 */
export function importState(state: OrderedState, pairs: Iterable<Pair>): void {
  for (const { key } of Array.from(state.range({}))) state.delete(key)
  let last: Uint8Array | undefined
  for (const { key, value } of pairs) {
    if (last === undefined) checkFirst(key, value)
    else if (compareBytes(last, key) >= 0) throw malformed('its keys are out of order')
    if (key.length > STORED_KEY_BYTES_MAX) throw malformed('a key is too long')
    state.put(key, value)
    last = key
  }
  if (last === undefined) throw malformed('it is empty')
}

/**
 * @returns 16 hexadecimal digits over all pairs in order, to compare replicas that applied the same
 *   index. Two lanes of 32 bits: it finds bugs, not forgers.
 */
export function stateHash(state: OrderedReads): string {
  const lanes: [number, number] = [0x9e3779b9, 0x85ebca6b]
  for (const { key, value } of state.range({})) {
    mix(lanes, key)
    mix(lanes, value)
  }
  return lanes.map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('')
}

function checkFirst(key: Uint8Array, value: Uint8Array): void {
  if (compareBytes(key, META_KEY) !== 0) throw malformed('it does not begin with its meta')
  decodeMeta(value)
}

/** The length goes first, so that bytes can't move from a key to its value unseen. */
function mix(lanes: [number, number], bytes: Uint8Array): void {
  let [first, second] = lanes
  first = Math.imul(first ^ bytes.length, 0x01000193)
  second = Math.imul(second ^ bytes.length, 0x5bd1e995)
  for (const byte of bytes) {
    first = Math.imul(first ^ byte, 0x01000193)
    second = Math.imul((second ^ byte) + (second >>> 15), 0x5bd1e995)
  }
  lanes[0] = first ^ (first >>> 16)
  lanes[1] = second ^ (second >>> 13)
}

function malformed(problem: string): MeshError {
  return new MeshError('invalid-data', `Cannot install a snapshot: ${problem}`)
}
