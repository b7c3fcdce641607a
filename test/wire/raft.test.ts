// The codec of protocols/raft is written by hand; here it is held to the schema, both ways.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MeshError } from '../../src/base/errors.ts'
import { NO_BYTES } from '../../src/core/raft/messages.ts'
import type { Entry } from '../../src/core/raft/messages.ts'
import {
  ConfigStateSchema,
  EntrySchema,
  HardStateSchema,
  MessageSchema,
  SnapshotSchema
} from '../../src/wire/generated/raft/v1_pb.ts'
import {
  decodeConfigState,
  decodeEntry,
  decodeHardState,
  decodeRaftMessage,
  decodeSnapshot,
  encodeConfigState,
  encodeEntry,
  encodeHardState,
  encodeRaftMessage,
  encodeSnapshot
} from '../../src/wire/raft.ts'
import { entryArb, hardStateArb, membersArb, messageArb, snapshotArb } from './raft-values.ts'

/** What the generated code makes of the same bytes, written again. */
const TRIPS = {
  entry: (bytes: Uint8Array) => toBinary(EntrySchema, fromBinary(EntrySchema, bytes)),
  members: (bytes: Uint8Array) => toBinary(ConfigStateSchema, fromBinary(ConfigStateSchema, bytes)),
  hardState: (bytes: Uint8Array) => toBinary(HardStateSchema, fromBinary(HardStateSchema, bytes)),
  snapshot: (bytes: Uint8Array) => toBinary(SnapshotSchema, fromBinary(SnapshotSchema, bytes)),
  message: (bytes: Uint8Array) => toBinary(MessageSchema, fromBinary(MessageSchema, bytes))
}

/** Equal in both directions: ours read by ours, ours read and written by the schema. */
function expectBothWays<T>(parts: {
  value: T
  encode: (value: T) => Uint8Array
  decode: (bytes: Uint8Array) => T
  trip: (bytes: Uint8Array) => Uint8Array
}): void {
  const bytes = parts.encode(parts.value)
  expect(parts.decode(bytes)).toEqual(parts.value)
  expect(Buffer.from(parts.trip(bytes)).toString('hex')).toBe(Buffer.from(bytes).toString('hex'))
}

describe('what is written by hand is what the schema says', () => {
  it('entries', () => {
    fc.assert(
      fc.property(entryArb, (value) => {
        expectBothWays({ value, encode: encodeEntry, decode: decodeEntry, trip: TRIPS.entry })
      })
    )
  })

  it('members', () => {
    fc.assert(
      fc.property(membersArb, (value) => {
        const parts = { encode: encodeConfigState, decode: decodeConfigState }
        expectBothWays({ value, ...parts, trip: TRIPS.members })
      })
    )
  })

  it('hard states', () => {
    fc.assert(
      fc.property(hardStateArb, (value) => {
        const parts = { encode: encodeHardState, decode: decodeHardState }
        expectBothWays({ value, ...parts, trip: TRIPS.hardState })
      })
    )
  })

  it('snapshots', () => {
    fc.assert(
      fc.property(snapshotArb, (value) => {
        const parts = { encode: encodeSnapshot, decode: decodeSnapshot }
        expectBothWays({ value, ...parts, trip: TRIPS.snapshot })
      })
    )
  })

  it('messages', () => {
    fc.assert(
      fc.property(messageArb, (value) => {
        const parts = { encode: encodeRaftMessage, decode: decodeRaftMessage }
        expectBothWays({ value, ...parts, trip: TRIPS.message })
      })
    )
  })

  it('fields of a later version are passed over', () => {
    const later = toBinary(EntrySchema, create(EntrySchema, { term: 3n, index: 4n }))
    const bytes = Uint8Array.from([...later, 0xfa, 0x01, 0x02, 0x68, 0x69, 0xf8, 0x01, 0x07])
    expect(decodeEntry(bytes)).toEqual({ type: 'normal', term: 3, index: 4, data: NO_BYTES })
  })
})

describe('R-1 bytes that are no message', () => {
  const readers: readonly [string, (bytes: Uint8Array) => unknown][] = [
    ['entry', decodeEntry],
    ['members', decodeConfigState],
    ['hard state', decodeHardState],
    ['snapshot', decodeSnapshot],
    ['message', decodeRaftMessage]
  ]
  for (const [name, read] of readers) {
    it(`${name}: any bytes are read, or refused as invalid-data`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
          try {
            read(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(MeshError)
            expect((error as MeshError).code).toBe('invalid-data')
          }
        }),
        { numRuns: 500 }
      )
    })
  }

  it('a message that is cut off anywhere is refused, or is one with fewer fields', () => {
    fc.assert(
      fc.property(messageArb, fc.nat(), (message, cut) => {
        const whole = encodeRaftMessage(message)
        const bytes = whole.slice(0, cut % Math.max(1, whole.length))
        try {
          expect(encodeRaftMessage(decodeRaftMessage(bytes)).length).toBeLessThanOrEqual(
            bytes.length
          )
        } catch (error) {
          expect((error as MeshError).code).toBe('invalid-data')
        }
      })
    )
  })

  it('nothing is allocated by a length that the bytes do not have', () => {
    // A field of 2^40 bytes in a message of ten.
    const bytes = Uint8Array.from([0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00, 0x00])
    expect(() => decodeRaftMessage(bytes)).toThrow(/a field is cut off/)
  })
})

it('an entry is encoded once, however many ask', () => {
  const entry: Entry = { type: 'normal', term: 1, index: 2, data: NO_BYTES }
  expect(encodeEntry(entry)).toBe(encodeEntry(entry))
})
