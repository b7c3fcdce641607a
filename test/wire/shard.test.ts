// The codec of protocols/shard is written by hand; here it is held to the schema, both ways, and to
// its bounds.

import { fromBinary, toBinary } from '@bufbuild/protobuf'
import type { DescMessage } from '@bufbuild/protobuf'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex, utf8 } from '../../src/base/bytes.ts'
import { MeshError } from '../../src/base/errors.ts'
import { peerId, storeId } from '../../src/base/ids.ts'
import { MIB } from '../../src/base/units.ts'
import { COMMAND_BYTES_MAX } from '../../src/core/machine/limits.ts'
import { createMessage } from '../../src/core/raft/messages.ts'
import type { Message } from '../../src/core/raft/messages.ts'
import { LOG_ENTRY_BYTES_MAX } from '../../src/storage/log-store.ts'
import { STATE_NOTE_BYTES_MAX } from '../../src/storage/state-store.ts'
import {
  ChunkRequestSchema,
  ChunkSchema,
  RaftFrameSchema,
  ReplySchema,
  RequestSchema,
  SnapshotHandleSchema
} from '../../src/wire/generated/shard/v1_pb.ts'
import {
  CALLS_MAX,
  SHARD_FRAME_BYTES_MAX,
  CALL_HEAD_BYTES,
  decodeShardRequest,
  encodeShardCall,
  encodeShardRequest
} from '../../src/wire/shard.ts'
import type { ExecuteCall } from '../../src/wire/shard.ts'
import { failedResult, failureOf } from '../../src/wire/shard-failure.ts'
import {
  FRAME_MESSAGES_MAX,
  RAFT_FRAME_BYTES_MAX,
  decodeRaftFrame,
  encodeRaftFrame,
  messageBytes
} from '../../src/wire/shard-frame.ts'
import { decodeShardReply, encodeShardReply } from '../../src/wire/shard-reply.ts'
import type { ShardResult } from '../../src/wire/shard-reply.ts'
import {
  SNAPSHOT_NOTE_BYTES_MAX,
  decodeChunk,
  decodeChunkRequest,
  decodeSnapshotHandle,
  encodeChunk,
  encodeChunkRequest,
  encodeSnapshotHandle,
  pairBytes
} from '../../src/wire/shard-snapshot.ts'
import { codeOf } from './codecs.ts'
import {
  anyFrameArb,
  callsArb,
  chunkArb,
  chunkRequestArb,
  frameArb,
  handleArb,
  resultsArb
} from './shard-values.ts'

/** Equal in both directions: ours read by ours, ours read and written by the schema. */
function expectBothWays<T>(
  arb: fc.Arbitrary<T>,
  parts: {
    encode: (value: T) => Uint8Array
    decode: (bytes: Uint8Array, value: T) => T
    schema: DescMessage
  }
): void {
  fc.assert(
    fc.property(arb, (value) => {
      const bytes = parts.encode(value)
      expect(parts.decode(bytes, value)).toEqual(value)
      const again = toBinary(parts.schema, fromBinary(parts.schema, bytes))
      expect(toHex(again)).toBe(toHex(bytes))
    })
  )
}

describe('what is written by hand is what the schema says', () => {
  it('frames', () => {
    const [encode, decode] = [encodeRaftFrame, decodeRaftFrame]
    expectBothWays(frameArb, { encode, decode, schema: RaftFrameSchema })
  })

  it('requests', () => {
    const [encode, decode] = [encodeShardRequest, decodeShardRequest]
    expectBothWays(callsArb, { encode, decode, schema: RequestSchema })
  })

  it('replies', () => {
    expectBothWays(resultsArb, {
      encode: encodeShardReply,
      decode: (bytes, { length }) => decodeShardReply(bytes, length),
      schema: ReplySchema
    })
  })

  it('handles and chunks of snapshots', () => {
    const handle = { encode: encodeSnapshotHandle, decode: decodeSnapshotHandle }
    expectBothWays(handleArb, { ...handle, schema: SnapshotHandleSchema })
    const request = { encode: encodeChunkRequest, decode: decodeChunkRequest }
    expectBothWays(chunkRequestArb, { ...request, schema: ChunkRequestSchema })
    const chunk = { encode: encodeChunk, decode: decodeChunk }
    expectBothWays(chunkArb, { ...chunk, schema: ChunkSchema })
  })
})

const STORE = storeId('0'.repeat(32))
const frameOf = (messages: readonly Message[]) =>
  encodeRaftFrame({
    toStore: STORE,
    fromStore: STORE,
    groups: [{ group: 1, generation: 1, messages }],
    gone: []
  })

describe('frames', () => {
  it('S-2 all messages of all groups come out, in the order of their kind', () => {
    fc.assert(
      fc.property(anyFrameArb, (frame) => {
        const read = decodeRaftFrame(encodeRaftFrame(frame))
        const listed = (groups: typeof frame.groups): string[] =>
          groups.flatMap(({ group, generation, messages }) =>
            messages.map((message) => JSON.stringify({ group, generation, message }))
          )
        expect(listed(read.groups).toSorted()).toEqual(listed(frame.groups).toSorted())
        const others = (groups: typeof frame.groups): string[] =>
          groups.flatMap(({ group, messages }) =>
            messages
              .filter(({ type }) => type === 'append' && group === groups[0]?.group)
              .map((message) => JSON.stringify(message))
          )
        const first = frame.groups[0]
        const same = frame.groups.filter(
          ({ group, generation }) => group === first?.group && generation === first.generation
        )
        const found = read.groups.filter(
          ({ group, generation }) => group === first?.group && generation === first.generation
        )
        expect(others(found)).toEqual(others(same))
      })
    )
  })

  it('a heartbeat takes few bytes', () => {
    const beat = createMessage({ type: 'heartbeat', from: 3, to: 5, term: 9, commit: 70_000 })
    const bytes = frameOf(Array.from({ length: 100 }, () => beat)).length
    expect(bytes / 100).toBeLessThan(10)
  })

  it('no message takes more than is estimated', () => {
    fc.assert(
      fc.property(anyFrameArb, (frame) => {
        const messages = frame.groups.flatMap((group) => group.messages)
        const estimate = messages.reduce((sum, message) => sum + messageBytes(message), 0)
        expect(encodeRaftFrame({ ...frame, gone: [] }).length).toBeLessThanOrEqual(36 + estimate)
      })
    )
  })

  it('the largest entry of a log fits one', () => {
    // An encoded entry of the largest size: some bytes are term, index and lengths.
    const data = new Uint8Array(LOG_ENTRY_BYTES_MAX)
    const entries = [{ type: 'normal', term: 2 ** 50, index: 2 ** 50, data }] as const
    const message = createMessage({ type: 'append', to: 2, entries })
    expect(frameOf([message]).length + 16).toBeLessThan(RAFT_FRAME_BYTES_MAX)
    expect(SNAPSHOT_NOTE_BYTES_MAX).toBeGreaterThanOrEqual(STATE_NOTE_BYTES_MAX)
  })

  it('S-1 have at most 16384 messages', () => {
    const beat = createMessage({ type: 'heartbeat', to: 1 })
    const empty = createMessage({ type: 'vote', to: 1 })
    for (const message of [beat, empty]) {
      const most = Array.from({ length: FRAME_MESSAGES_MAX }, () => message)
      expect(decodeRaftFrame(frameOf(most)).groups[0]?.messages).toHaveLength(FRAME_MESSAGES_MAX)
      expect(codeOf(() => decodeRaftFrame(frameOf([...most, message])))).toBe('invalid-data')
    }
  })
})

const execute = (args: Uint8Array, operation = 'kv.put'): ExecuteCall => ({
  kind: 'execute',
  target: { group: 1 },
  request: {
    client: 1,
    sequence: 1,
    answeredBelow: 1,
    space: utf8('s'),
    operation,
    version: 1,
    args
  }
})

describe('requests', () => {
  it('S-7 have 1 to 1024 calls', () => {
    const calls = Array.from({ length: CALLS_MAX }, () => execute(utf8('a')))
    expect(decodeShardRequest(encodeShardRequest(calls))).toHaveLength(CALLS_MAX)
    const tooMany = [...calls, execute(utf8('a'))]
    expect(codeOf(() => encodeShardRequest(tooMany))).toBe('invalid-argument')
    expect(codeOf(() => encodeShardRequest([]))).toBe('invalid-argument')
  })

  it('what the far end would refuse is refused before it is sent', () => {
    const long = new Uint8Array(COMMAND_BYTES_MAX + 1)
    expect(codeOf(() => encodeShardRequest([execute(long)]))).toBe('too-large')
    expect(codeOf(() => encodeShardRequest([execute(utf8(''), 'x'.repeat(65))]))).toBe(
      'invalid-argument'
    )
    expect(codeOf(() => encodeShardRequest([execute(utf8(''), '')]))).toBe('invalid-argument')
    const call = { ...execute(utf8('')), target: { space: new Uint8Array(256) } }
    expect(codeOf(() => encodeShardRequest([call]))).toBe('too-large')
  })

  it('a call takes no more than it says', () => {
    fc.assert(
      fc.property(callsArb, (calls) => {
        const bytes = calls.reduce(
          (sum, call) => sum + encodeShardCall(call).length + CALL_HEAD_BYTES,
          0
        )
        expect(encodeShardRequest(calls).length).toBeLessThanOrEqual(bytes)
      })
    )
  })
})

const done = (bytes: number): ShardResult => ({
  kind: 'done',
  revision: 1,
  result: new Uint8Array(bytes)
})

describe('replies', () => {
  it('S-7 have as many results as the request has calls', () => {
    const reply = encodeShardReply([done(1), done(2)])
    expect(codeOf(() => decodeShardReply(reply, 1))).toBe('invalid-data')
    expect(codeOf(() => decodeShardReply(reply, 2))).toBe('none')
    expect(codeOf(() => decodeShardReply(reply, 3))).toBe('invalid-data')
  })

  it('S-8 what has no room is to be asked for again, and what is too long alone fails', () => {
    const sizes = [MIB, 10, MIB, 3 * MIB, 10]
    const reply = encodeShardReply(sizes.map(done))
    expect(reply.length + 16).toBeLessThan(SHARD_FRAME_BYTES_MAX)
    const results = decodeShardReply(reply, sizes.length)
    expect(results.map((result) => (result.kind === 'failed' ? result.code : result.kind))).toEqual(
      ['done', 'done', 'again', 'too-large', 'done']
    )
  })

  it('S-8 always fit a frame', () => {
    const sizes = fc.array(fc.oneof(fc.nat(100), fc.nat(3 * MIB)), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(sizes, (bytes) => {
        const reply = encodeShardReply(bytes.map(done))
        expect(reply.length + 16).toBeLessThan(SHARD_FRAME_BYTES_MAX)
        expect(decodeShardReply(reply, bytes.length)).toHaveLength(bytes.length)
      }),
      { numRuns: 30 }
    )
  })

  it('an error comes back with its code, its words and what programs need of it', () => {
    const error = new MeshError('compacted', `${'é'.repeat(600)} gone`, {
      details: { revision: 7, space: 'x', nested: {}, negative: -1 }
    })
    const [result] = decodeShardReply(encodeShardReply([failedResult(error, peerId('abc'))]), 1)
    if (result?.kind !== 'failed') return expect.fail('it is no failure')
    const read = failureOf(result)
    expect(read.code).toBe('compacted')
    expect(read.message).toBe('é'.repeat(512))
    expect(read.details).toEqual({ revision: 7, space: 'x', leader: 'abc' })
    expect(result.leader).toBe('abc')
  })
})

describe('chunks', () => {
  it('no pair takes more than is said', () => {
    fc.assert(
      fc.property(chunkArb, (chunk) => {
        const bytes = chunk.pairs.reduce((sum, pair) => sum + pairBytes(pair), 0)
        expect(encodeChunk(chunk).length).toBeLessThanOrEqual(bytes + 16)
      })
    )
  })

  it('S-11 any changed bit of the pairs is noticed', () => {
    const bytes = encodeChunk({ pairs: [{ key: utf8('key'), value: utf8('value') }], isLast: true })
    const [start, end] = [2, 2 + 14]
    for (let bit = start * 8; bit < end * 8; bit++) {
      const changed = bytes.slice()
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(codeOf(() => decodeChunk(changed))).toBe('invalid-data')
    }
  })
})
