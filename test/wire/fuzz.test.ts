// Whatever comes from a peer or a disk ends in a value or in a MeshError of one of three codes.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, equalBytes, toHex } from '../../src/base/bytes.ts'
import { ERROR_CODES, isMeshError, type ErrorCode } from '../../src/base/errors.ts'
import { CAPACITY_BYTES_MAX, CAPACITY_BYTES_MIN } from '../../src/base/limits.ts'
import { blockIdFromBytes } from '../../src/core/block/block-id.ts'
import { INCARNATION_MAX, REVISION_MAX } from '../../src/core/membership/member.ts'
import {
  encodeFrame,
  FrameDecoder,
  REQUEST_TIMEOUT_MS_MAX,
  type Frame
} from '../../src/wire/frame.ts'
import { CODECS, Incomplete } from './codecs.ts'
import { callArb, manifestArb, offersArb, replyArb, specArb } from './job-values.ts'
import { catalogArb, recordArb, segmentHeadArb, updateArb } from './log-values.ts'
import { entryArb, hardStateArb, membersArb, messageArb, snapshotArb } from './raft-values.ts'
import {
  callsArb,
  chunkArb,
  chunkRequestArb,
  frameArb,
  handleArb,
  resultsArb
} from './shard-values.ts'
import { allVectors, bytesOf } from './vector-files.ts'

const ALLOWED: readonly ErrorCode[] = ['invalid-data', 'invalid-argument', 'too-large']
const RUNS = { numRuns: 2_000 }

/** Runs a decoder on hostile bytes. @returns its value, or undefined when it refused as it may. */
function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode()
  } catch (error) {
    if (error instanceof Incomplete) return undefined
    if (isMeshError(error) && ALLOWED.includes(error.code)) return undefined
    throw error
  }
}

/** A replaced, halved or dropped character is the one thing that a second trip may change. */
function hasBrokenText(value: unknown): boolean {
  const json = JSON.stringify(value)
  return /[\ufffd\ufeff]/.test(json) || json.includes(String.raw`\ud`)
}

const decoders = Object.entries(CODECS).flatMap(([protocol, messages]) =>
  Object.entries(messages).map(([message, codec]) => ({ protocol, message, codec }))
)

type Edit = { at: number; remove: number; insert: Uint8Array }

/** Cuts some bytes out and puts others in, at places that scale with the length. */
const edits: fc.Arbitrary<Edit[]> = fc.array(
  fc.record({
    at: fc.nat(0xffff),
    remove: fc.oneof(fc.constant(0), fc.constant(1), fc.nat(40)),
    insert: fc.uint8Array({ maxLength: 8 })
  }),
  { minLength: 1, maxLength: 4 }
)

function mutate(bytes: Uint8Array, changes: readonly Edit[]): Uint8Array {
  let result = bytes
  for (const { at, remove, insert } of changes) {
    const place = Math.floor((at / 0x10000) * (result.length + 1))
    result = concatBytes([result.subarray(0, place), insert, result.subarray(place + remove)])
  }
  return result
}

describe.each(decoders)('decoding $protocol $message', ({ protocol, message, codec }) => {
  const golden = allVectors()
    .filter((vectors) => vectors.protocol === protocol)
    .flatMap((vectors) => [...vectors.golden, ...vectors.accepted])
    .filter((vector) => vector.message === message)

  it('survives random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(70), (bytes, asked) => {
        attempt(() => codec.decode(bytes, { asked, frameBytesMax: 100 }))
      }),
      RUNS
    )
  })

  it('survives golden bytes with changes in them, and encodes what it took from them', () => {
    fc.assert(
      fc.property(fc.constantFrom(...golden), edits, (vector, changes) => {
        const bytes = mutate(bytesOf(vector), changes)
        const value = attempt(() => codec.decode(bytes, vector))
        if (value === undefined || hasBrokenText(value)) return
        // What was accepted has one encoding, which means the same.
        const again = codec.encode(value)
        expect(codec.decode(again, vector)).toEqual(value)
        expect(toHex(codec.encode(codec.decode(again, vector)))).toBe(toHex(again))
      }),
      RUNS
    )
  })

  it('survives every prefix of golden bytes', () => {
    for (const vector of golden) {
      const bytes = bytesOf(vector)
      for (let length = 0; length < Math.min(bytes.length, 600); length++) {
        attempt(() => codec.decode(bytes.subarray(0, length), vector))
      }
    }
  })
})

/** Cuts bytes into chunks at the given places. */
function chunks(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b)
  return [...places, bytes.length].map((end, index) => bytes.slice(places[index - 1] ?? 0, end))
}

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const body = fc.uint8Array({ maxLength: 40 })
/** Texts that UTF-8 carries unchanged; a byte order mark at the front is dropped by decoders. */
const text = (maxLength: number): fc.Arbitrary<string> =>
  fc
    .string({
      unit: fc.constantFrom(...'abz09 -_./:'.split(''), 'é', '漢', '🏝'),
      maxLength: Math.floor(maxLength / 2)
    })
    .filter((value) => value.length <= maxLength)
const code = fc.constantFrom(...(Object.keys(ERROR_CODES) as ErrorCode[]))
const timeoutMs = fc.integer({ min: 1, max: REQUEST_TIMEOUT_MS_MAX })

const frames: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ kind: fc.constant('request' as const), id: u32, timeoutMs, body }),
  fc.record({ kind: fc.constant('response' as const), id: u32, body }),
  fc.record({ kind: fc.constant('error' as const), id: u32, code, message: text(60) }),
  fc.record({ kind: fc.constant('notice' as const), body }),
  fc.record({ kind: fc.constant('cancel' as const), id: u32 })
)

describe('FrameDecoder', () => {
  const LIMIT = 200

  it('F-7 gives back what was encoded, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 8 }), fc.array(fc.nat(2_000)), (sent, cuts) => {
        const decoder = new FrameDecoder(LIMIT)
        const bytes = concatBytes(sent.map(encodeFrame))
        const heard = chunks(bytes, cuts).flatMap((chunk) => decoder.push(chunk))
        expect(heard).toEqual(sent)
        expect(decoder.partial).toBe(false)
      }),
      RUNS
    )
  })

  it('survives garbage behind good frames, in any chunks', () => {
    const stream = fc.array(
      fc.oneof(
        frames.map(encodeFrame),
        fc.uint8Array({ maxLength: 30 }),
        fc.tuple(frames, edits).map(([frame, changes]) => mutate(encodeFrame(frame), changes))
      ),
      { maxLength: 6 }
    )
    fc.assert(
      fc.property(stream, fc.array(fc.nat(1_000)), (parts, cuts) => {
        const decoder = new FrameDecoder(LIMIT)
        for (const chunk of chunks(concatBytes(parts), cuts)) {
          if (attempt(() => decoder.push(chunk)) === undefined) return
        }
      }),
      RUNS
    )
  })

  it('F-2 never waits for the content of a frame over the limit', () => {
    const over = fc.integer({ min: LIMIT + 1, max: 0xffff_ffff })
    fc.assert(
      fc.property(fc.array(frames, { maxLength: 3 }), over, fc.nat(3), (before, length, cut) => {
        const decoder = new FrameDecoder(LIMIT)
        const head = new Uint8Array(4)
        new DataView(head.buffer).setUint32(0, length)
        decoder.push(concatBytes([...before.map(encodeFrame), head.subarray(0, cut)]))

        let refusal: unknown
        try {
          decoder.push(head.subarray(cut))
        } catch (error) {
          refusal = error
        }

        expect(isMeshError(refusal, 'too-large')).toBe(true)
      }),
      RUNS
    )
  })
})

const alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789'.split('')
const peer = fc.string({ unit: fc.constantFrom(...alphabet), minLength: 1, maxLength: 128 })
const hex = (length: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(toHex)
const hexUpTo = (maxLength: number): fc.Arbitrary<string> => fc.uint8Array({ maxLength }).map(toHex)
const count = fc.oneof(fc.nat(), fc.maxSafeNat())
const blockId = fc
  .tuple(fc.constantFrom(0x55, 0x70), fc.uint8Array({ minLength: 32, maxLength: 32 }))
  .map(([codec, digest]) =>
    blockIdFromBytes(concatBytes([Uint8Array.of(1, codec, 0x12, 0x20), digest]))
  )
const cycle = count.map((number) => Math.max(1, number))
const blockIds = fc.array(blockId, { minLength: 1, maxLength: 20 })
const just = <T extends string>(value: T): fc.Arbitrary<T> => fc.constant(value)
const streamName = text(64).filter((name) => name !== '')
const streamBatch = hexUpTo(500).map((digits) => `hex:${digits}`)

const labels = fc
  .uniqueArray(fc.tuple(text(128), text(128)), { maxLength: 32, selector: ([key]) => key })
  .map((pairs) => pairs.toSorted(([a], [b]) => (a < b ? -1 : 1)))
const record = fc.record(
  {
    peerId: peer,
    incarnation: fc.integer({ min: 1, max: INCARNATION_MAX }),
    session: hex(8),
    storeId: hex(16),
    revision: fc.integer({ min: 1, max: REVISION_MAX }),
    name: text(63),
    zone: text(63),
    capacityBytes: fc.integer({ min: CAPACITY_BYTES_MIN, max: CAPACITY_BYTES_MAX }),
    labels,
    addresses: fc.array(text(512), { maxLength: 16 }),
    status: fc.constantFrom('up', 'leaving', 'left'),
    rival: hex(8)
  },
  {
    requiredKeys: [
      'peerId',
      'incarnation',
      'session',
      'storeId',
      'revision',
      'name',
      'zone',
      'capacityBytes',
      'labels',
      'addresses',
      'status'
    ]
  }
)
const state = fc.constantFrom('alive', 'suspect', 'dead', 'left', 'gone', 'evicted')
const update = fc.record({ record, state, from: peer })
const updates = fc.array(update, { maxLength: 4 })

/** Bytes anywhere in a value as the codecs of raft have them in JSON. */
const asJson = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, inner: unknown) =>
      inner instanceof Uint8Array ? `hex:${toHex(inner)}` : inner
    )
  )

/** Arbitrary valid values of every message, as JSON. */
const VALUES: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  'genesis Genesis': fc.record({
    founder: peer,
    shardCount: fc.integer({ min: 1, max: 4_096 }),
    arcCount: fc.nat(14).map((bits) => 2 ** bits),
    replication: fc.integer({ min: 1, max: 3 }),
    createdMs: count,
    nonce: hex(16)
  }),
  'genesis SignedGenesis': fc.record({ genesis: hexUpTo(200), signature: hex(64) }),
  'hello Hello': fc
    .tuple(
      fc.tuple(fc.integer({ min: 1, max: 0xffff_ffff }), fc.integer({ min: 1, max: 0xffff_ffff })),
      fc.record(
        {
          meshId: hex(32),
          storeId: hex(16),
          session: hex(8),
          incarnation: count,
          signedGenesis: fc.uint8Array({ minLength: 1, maxLength: 300 }).map(toHex),
          agent: text(64)
        },
        { requiredKeys: ['storeId', 'session', 'incarnation', 'agent'] }
      )
    )
    .map(([versions, rest]) => ({
      versionMin: Math.min(...versions),
      versionMax: Math.max(...versions),
      ...rest
    })),
  'membership Message': fc.oneof(
    fc.record({ kind: fc.constantFrom('ping', 'ack'), seq: u32, updates }),
    fc.record({ kind: just('ping-request'), seq: u32, target: peer, updates }),
    fc.record({ kind: just('nack'), seq: u32, target: peer }, { requiredKeys: ['kind', 'seq'] }),
    fc.record({ kind: just('gossip'), updates }),
    fc.record({ kind: just('sync'), updates, more: fc.boolean() }),
    fc.record({ kind: just('sync-reply'), updates })
  ),
  'membership Remembered': fc.record({ updates }),
  'block Request': fc.oneof(
    fc.record({ kind: fc.constantFrom('have', 'delete'), ids: blockIds }),
    fc.record({ kind: just('have'), ids: blockIds, isPeek: fc.constant(true) }),
    fc.record({ kind: fc.constantFrom('get', 'inspect'), id: blockId }),
    fc.record(
      { kind: just('put'), id: blockId, bytes: hexUpTo(500), hintFor: peer, touchedCycle: count },
      { requiredKeys: ['kind', 'id', 'bytes'] }
    )
  ),
  'collect Request': fc.oneof(
    fc.record({ kind: just('begin'), cycle }),
    fc.record({ kind: just('sweep'), cycle, isCounted: fc.boolean(), releases: count }),
    fc.record({ kind: just('live'), cycle, fromArc: u32 })
  ),
  'collect Reply': fc.oneof(
    fc.record({ kind: just('begin') }),
    fc.record({ kind: just('sweep'), checked: count, deleted: count, deletedBytes: count }),
    fc.record({
      kind: just('live'),
      toArc: u32,
      digests: fc.array(hex(16), { maxLength: 5 }).map((all) => `hex:${all.join('')}`),
      hash: hex(32).map((digits) => `hex:${digits}`)
    })
  ),
  'block Reply': fc.record({
    held: fc.array(fc.boolean(), { maxLength: 70 }),
    layoutHash: text(128),
    payload: hexUpTo(500)
  }),
  'raft Entry': entryArb.map(asJson),
  'raft ConfigState': membersArb.map(asJson),
  'raft HardState': hardStateArb.map(asJson),
  'raft Snapshot': snapshotArb.map(asJson),
  'raft Message': messageArb.map(asJson),
  'shard RaftFrame': frameArb.map(asJson),
  'shard Request': callsArb.map((calls) => asJson({ calls })),
  'shard Reply': resultsArb.map((results) => asJson({ results })),
  'shard SnapshotHandle': handleArb.map(asJson),
  'shard ChunkRequest': chunkRequestArb.map(asJson),
  'shard Chunk': chunkArb.map(asJson),
  'log SegmentHead': segmentHeadArb.map(asJson),
  'log Record': recordArb.map(asJson),
  'log Update': updateArb.map(asJson),
  'log Catalog': catalogArb.map(asJson),
  'stream Call': fc.oneof(
    fc.record({ kind: fc.constantFrom('open', 'receive'), inbox: streamName }),
    fc.record(
      { kind: just('send'), inbox: streamName, from: streamName, batch: streamBatch, peer },
      { requiredKeys: ['kind', 'inbox', 'from', 'batch'] }
    )
  ),
  'stream Reply': fc.oneof(
    fc.record({ kind: just('taken'), credit: fc.integer({ min: 1, max: 65_536 }) }),
    fc.record({ kind: just('opened'), peer }),
    fc.record({ kind: just('received'), batches: fc.array(streamBatch, { maxLength: 5 }) })
  ),
  'job Call': callArb.map(asJson),
  'job Reply': replyArb.map(asJson),
  'job Offers': offersArb.map((offers) => asJson({ offers })),
  'job JobSpec': specArb.map(asJson),
  'job Manifest': manifestArb.map((inputs) => asJson({ inputs })),
  'node Request': fc.oneof(
    fc.record({ kind: just('status') }),
    fc.record(
      { kind: just('scrub'), bytesPerSecond: fc.integer({ min: 1 }) },
      { requiredKeys: ['kind'] }
    ),
    fc.record({ kind: just('replicas') }),
    fc.record(
      {
        kind: just('recover'),
        group: fc.nat(65_535),
        generation: count,
        newest: fc.integer({ min: 1, max: 2 ** 51 })
      },
      { requiredKeys: ['kind', 'group', 'generation'] }
    )
  ),
  'node StatusReply': fc.record({
    usedBytes: count,
    blockCount: count,
    underReplicated: count,
    missing: count,
    layoutHash: text(128),
    layoutVersion: count,
    pendingMoves: count,
    agent: text(64)
  }),
  'node ScrubReply': fc.record({ checked: count, bytes: count, damaged: count, mended: count }),
  'node ReplicasReply': fc.record({
    replicas: fc.array(
      fc.record(
        {
          group: fc.nat(65_535),
          generation: count,
          replica: count,
          isLeader: fc.boolean(),
          leader: peer,
          term: count,
          commit: count,
          applied: count,
          lastIndex: count,
          lastTerm: count,
          members: fc.array(
            fc.record({
              peer,
              replica: count,
              isVoter: fc.boolean(),
              isOutgoingVoter: fc.boolean()
            }),
            { maxLength: 5 }
          ),
          problem: text(256)
        },
        { noNullPrototype: true }
      ),
      { maxLength: 5 }
    ),
    failure: text(256)
  }),
  'node RecoverReply': fc.record({ generation: count }),
  'frame Frame': frames.map((frame) =>
    'body' in frame ? { ...frame, body: toHex(frame.body) } : frame
  )
}

describe.each(decoders)('encoding $protocol $message', ({ protocol, message, codec }) => {
  it('is undone by decoding', () => {
    const values = VALUES[`${protocol} ${message}`]
    expect(values).toBeDefined()
    if (values === undefined) return
    fc.assert(
      fc.property(values, (value) => {
        const { held, results } = value as { held?: unknown[]; results?: unknown[] }
        const bytes = codec.encode(value)
        const before = bytes.slice()
        expect(codec.decode(bytes, { asked: (held ?? results)?.length })).toEqual(
          // fast-check makes objects without a prototype, which JSON doesn't.
          JSON.parse(JSON.stringify(value))
        )
        expect(equalBytes(bytes, before)).toBe(true)
      }),
      { numRuns: 500 }
    )
  })
})
