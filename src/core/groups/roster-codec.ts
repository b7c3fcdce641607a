// Rosters, and the contexts of changes, as bytes: one form for each value, with a version first.

import { MeshError } from '../../base/errors.ts'
import { peerId, storeId } from '../../base/ids.ts'
import type { PeerId, StoreId } from '../../base/ids.ts'
import { malformed } from '../machine/byte-fields.ts'
import { decode, encode, label, list, record, uint } from '../machine/codec.ts'
import type { Codec } from '../machine/codec.ts'
import { NUMBER_MAX } from '../raft/messages.ts'
import type { ChangeContext, GroupMember, Roster } from './roster.ts'

/** Of both forms; another one takes another number. */
const VERSION = 1
/** Voters of both halves of a joint configuration, and learners; more than a group ever has. */
export const MEMBERS_MAX = 64

/** Ids, layout versions and generations: 0 or 1 to 2^52. */
function number(from: number): Codec<number> {
  return {
    write: (writer, value) => {
      if (value < from || value > NUMBER_MAX) {
        throw new MeshError('invalid-argument', `${value} is not in ${from} to 2^52`)
      }
      uint.write(writer, value)
    },
    read: (reader) => {
      const value = uint.read(reader)
      if (value < from || value > NUMBER_MAX) throw malformed(`${value} is not in ${from} to 2^52`)
      return value
    }
  }
}

function parsed<Id extends string>(field: Codec<string>, parse: (text: string) => Id): Codec<Id> {
  return {
    write: (writer, id) => field.write(writer, id),
    read: (reader) => {
      const text = field.read(reader)
      try {
        return parse(text)
      } catch (cause) {
        throw new MeshError('invalid-data', `Cannot decode: "${text}" is no id`, { cause })
      }
    }
  }
}

const member: Codec<GroupMember> = record<GroupMember>({
  replica: number(1),
  peer: parsed<PeerId>(label(128), peerId),
  store: parsed<StoreId>(label(32), storeId)
})

const anyMembers = list(member, MEMBERS_MAX)

const members: Codec<readonly GroupMember[]> = {
  write: (writer, values) => {
    if (!isAscending(values)) {
      throw new MeshError('invalid-argument', 'Members are to be written in the order of their ids')
    }
    anyMembers.write(writer, values)
  },
  read: (reader) => {
    const values = anyMembers.read(reader)
    if (!isAscending(values)) throw malformed('members are not in the order of their ids')
    return values
  }
}

function isAscending(values: readonly GroupMember[]): boolean {
  return values.every(
    ({ replica }, place) => place === 0 || (values[place - 1]?.replica ?? 0) < replica
  )
}

function versioned<T>(codec: Codec<T>, what: string): Codec<T> {
  return {
    write: (writer, value) => {
      writer.byte(VERSION)
      codec.write(writer, value)
    },
    read: (reader) => {
      const version = reader.byte()
      if (version !== VERSION) throw malformed(`${what} has version ${version}, not ${VERSION}`)
      return codec.read(reader)
    }
  }
}

const contextCodec: Codec<ChangeContext> = versioned(
  record<ChangeContext>({ layoutVersion: number(0), generation: number(0), added: members }),
  'the context of a change'
)

/** For states that carry a roster among other things. */
export const rosterCodec: Codec<Roster> = versioned(checkedRoster(), 'a roster')

function checkedRoster(): Codec<Roster> {
  const fields = record<Roster>({
    members,
    nextReplica: number(1),
    layoutVersion: number(0),
    generation: number(0)
  })
  return {
    write: (writer, roster) => fields.write(writer, roster),
    read: (reader) => {
      const roster = fields.read(reader)
      const last = roster.members.at(-1)?.replica ?? 0
      if (last >= roster.nextReplica) throw malformed(`replica ${last} was never given out`)
      return roster
    }
  }
}

/** @returns bytes of their own. */
export function encodeChangeContext(context: ChangeContext): Uint8Array {
  return encode(contextCodec, context).slice()
}

/** @throws invalid-data unless the bytes are one context. */
export function decodeChangeContext(bytes: Uint8Array): ChangeContext {
  return decode(contextCodec, bytes)
}

/** @returns bytes of their own. */
export function encodeRoster(roster: Roster): Uint8Array {
  return encode(rosterCodec, roster).slice()
}

/** @throws invalid-data unless the bytes are one roster. */
export function decodeRoster(bytes: Uint8Array): Roster {
  return decode(rosterCodec, bytes)
}
