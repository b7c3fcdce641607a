// What a replica keeps beside the machine's pairs, in the same batch: who it is, and the members of
// its group as of the applied index.

import { decode, encode, flag, list, record, uint } from '../core/machine/codec.ts'
import type { Codec } from '../core/machine/codec.ts'
import { malformed } from '../core/machine/byte-fields.ts'
import { MEMBERS_MAX, rosterCodec } from '../core/groups/roster-codec.ts'
import type { Roster } from '../core/groups/roster.ts'
import type { ConfigState, ReplicaId } from '../core/raft/messages.ts'

export type ReplicaNote = {
  /** This replica's own id. */
  readonly replica: ReplicaId
  /** The index of the snapshot that the state began as: until the log says so too, it may lack it. */
  readonly installedIndex: number
  readonly configState: ConfigState
  readonly roster: Roster
}

const VERSION = 1
const ids = list(uint, MEMBERS_MAX)

const configCodec: Codec<ConfigState> = record<ConfigState>({
  voters: ids,
  votersOutgoing: ids,
  learners: ids,
  learnersNext: ids,
  autoLeave: flag
})

const noteCodec: Codec<ReplicaNote & { version: number }> = record<
  ReplicaNote & { version: number }
>({
  version: uint,
  replica: uint,
  installedIndex: uint,
  configState: configCodec,
  roster: rosterCodec
})

/** @returns bytes of their own. */
export function encodeReplicaNote(note: ReplicaNote): Uint8Array {
  return encode(noteCodec, { version: VERSION, ...note }).slice()
}

/** @throws invalid-data */
export function decodeReplicaNote(bytes: Uint8Array): ReplicaNote {
  const { version, ...note } = decode(noteCodec, bytes)
  if (version !== VERSION) throw malformed(`a replica's note has version ${version}`)
  return note
}
