// Arbitrary values of protocols/shard, as the codec gives them back.

import * as fc from 'fast-check'
import { ERROR_CODES } from '../../src/base/errors.ts'
import type { ErrorCode } from '../../src/base/errors.ts'
import { peerId, storeId } from '../../src/base/ids.ts'
import { toHex } from '../../src/base/bytes.ts'
import { NUMBER_MAX, createMessage } from '../../src/core/raft/messages.ts'
import type { Message } from '../../src/core/raft/messages.ts'
import type { GroupTarget, ShardCall } from '../../src/wire/shard.ts'
import { GROUP_MAX, decodeRaftFrame, encodeRaftFrame } from '../../src/wire/shard-frame.ts'
import type { GoneReplica, GroupMessages, RaftFrame } from '../../src/wire/shard-frame.ts'
import type { ShardResult } from '../../src/wire/shard-reply.ts'
import type { Chunk, ChunkRequest, SnapshotHandle } from '../../src/wire/shard-snapshot.ts'
import { messageArb } from './raft-values.ts'

const numberArb = fc.oneof(fc.nat({ max: 300 }), fc.maxSafeNat(), fc.constant(2 ** 53 - 1))
const boundedArb = fc.oneof(fc.nat({ max: 300 }), fc.constant(NUMBER_MAX))
const groupArb = fc.oneof(fc.nat({ max: 33 }), fc.nat({ max: GROUP_MAX }))
const bytesArb = fc.uint8Array({ maxLength: 200 })
const spaceArb = fc.uint8Array({ maxLength: 255 })
const hexArb = (length: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(toHex)
const idArb = fc.integer({ min: 1, max: NUMBER_MAX })
const nameArb = fc.string({
  unit: fc.constantFrom(...'abz.-09'.split('')),
  minLength: 1,
  maxLength: 64
})
const textArb = fc.string({ unit: fc.constantFrom('a', 'z', ' ', 'é', '漢', '🏝'), maxLength: 30 })
const peerArb = fc
  .string({ unit: fc.constantFrom(...'ABCxyz129'.split('')), minLength: 1, maxLength: 128 })
  .map(peerId)

const beatArb: fc.Arbitrary<Message> = fc
  .record({
    type: fc.constantFrom('heartbeat' as const, 'heartbeat-response' as const),
    from: boundedArb,
    to: boundedArb,
    term: boundedArb,
    commit: boundedArb,
    readSequence: boundedArb
  })
  .map((draft) => createMessage(draft))
const groupMessagesArb: fc.Arbitrary<GroupMessages> = fc.record({
  group: groupArb,
  generation: boundedArb,
  messages: fc.array(fc.oneof(beatArb, messageArb), { maxLength: 4 })
})
const goneArb: fc.Arbitrary<GoneReplica> = fc.record(
  { group: groupArb, generation: boundedArb, replica: idArb, newest: idArb },
  { requiredKeys: ['group', 'generation', 'replica'] }
)
const storeArb = hexArb(16).map(storeId)
/** Any frame, groups twice and heartbeats among the rest included. */
export const anyFrameArb: fc.Arbitrary<RaftFrame> = fc.record({
  toStore: storeArb,
  fromStore: storeArb,
  groups: fc.array(groupMessagesArb, { maxLength: 4 }),
  gone: fc.array(goneArb, { maxLength: 3 })
})
/** As a frame is read: each group once, its heartbeats first. */
export const frameArb: fc.Arbitrary<RaftFrame> = anyFrameArb.map((frame) =>
  decodeRaftFrame(encodeRaftFrame(frame))
)

const targetArb: fc.Arbitrary<GroupTarget> = fc.oneof(
  groupArb.map((group) => ({ group })),
  spaceArb.map((space) => ({ space }))
)
const callArb: fc.Arbitrary<ShardCall> = fc.oneof(
  fc.record({
    kind: fc.constant('execute' as const),
    target: targetArb,
    request: fc.record({
      client: numberArb,
      sequence: numberArb,
      answeredBelow: numberArb,
      space: spaceArb,
      operation: nameArb,
      version: numberArb,
      args: bytesArb
    })
  }),
  fc.record({
    kind: fc.constant('query' as const),
    target: targetArb,
    space: spaceArb,
    name: nameArb,
    version: numberArb,
    args: bytesArb,
    isStale: fc.boolean()
  }),
  fc.record({
    kind: fc.constant('changes' as const),
    target: targetArb,
    query: fc.record(
      {
        area: numberArb,
        from: bytesArb,
        to: bytesArb,
        revision: numberArb,
        eventsMax: fc.integer({ min: 1, max: 5_000 })
      },
      { requiredKeys: ['area', 'from', 'to', 'revision'] }
    ),
    waitMs: fc.nat({ max: 60_000 })
  }),
  fc.record({ kind: fc.constant('layout' as const), knownVersion: numberArb })
)
export const callsArb: fc.Arbitrary<ShardCall[]> = fc.array(callArb, {
  minLength: 1,
  maxLength: 6
})

const codeArb = fc.constantFrom(...(Object.keys(ERROR_CODES) as ErrorCode[]))
const resultArb: fc.Arbitrary<ShardResult> = fc.oneof(
  fc.record({ kind: fc.constant('done' as const), revision: numberArb, result: bytesArb }),
  fc.record(
    {
      kind: fc.constant('failed' as const),
      code: codeArb,
      message: textArb,
      leader: peerArb,
      details: fc.dictionary(nameArb, fc.oneof(numberArb, textArb), { maxKeys: 4 }),
      isDecided: fc.boolean()
    },
    { requiredKeys: ['kind', 'code', 'message', 'details', 'isDecided'] }
  ),
  fc.record({ kind: fc.constant('layout' as const), layout: bytesArb }, { requiredKeys: ['kind'] }),
  fc.record({ kind: fc.constant('again' as const) })
)
export const resultsArb: fc.Arbitrary<ShardResult[]> = fc.array(resultArb, {
  minLength: 1,
  maxLength: 6
})

export const handleArb: fc.Arbitrary<SnapshotHandle> = fc.record({
  snapshotId: hexArb(8),
  pairBytes: numberArb,
  note: bytesArb
})
export const chunkRequestArb: fc.Arbitrary<ChunkRequest> = fc.record({
  group: groupArb,
  generation: boundedArb,
  snapshotId: hexArb(8),
  afterKey: bytesArb
})
export const chunkArb: fc.Arbitrary<Chunk> = fc.record({
  pairs: fc.array(
    fc.record({ key: fc.uint8Array({ minLength: 1, maxLength: 50 }), value: bytesArb }),
    { minLength: 1, maxLength: 6 }
  ),
  isLast: fc.boolean()
})
