// Every codec of src/wire as one table: protocol folder → message name of its schema → codec. The
// values are as they stand in vectors.json, where bytes are written in hexadecimal.

import { concatBytes, toHex } from '../../src/base/bytes.ts'
import { MeshError } from '../../src/base/errors.ts'
import { BLOCK_FRAME_BYTES_MAX } from '../../src/base/limits.ts'
import type { MemberUpdate } from '../../src/core/membership/member.ts'
import type { MembershipMessage } from '../../src/core/membership/messages.ts'
import {
  decodeBlockReply,
  decodeBlockRequest,
  encodeBlockReply,
  encodeBlockRequest,
  type BlockReply,
  type BlockRequest
} from '../../src/wire/block.ts'
import {
  decodeCollectReply,
  decodeCollectRequest,
  encodeCollectReply,
  encodeCollectRequest
} from '../../src/wire/collect.ts'
import { decodeCatalog, encodeCatalog } from '../../src/storage/log/catalog.ts'
import { decodeEntries, decodeUpdate, encodeUpdate } from '../../src/storage/log/payload.ts'
import { RECORD_HEADER_BYTES, RecordCodec, type RecordDraft } from '../../src/storage/log/record.ts'
import {
  decodeSegmentHead,
  encodeSegmentHead,
  type SegmentHeader
} from '../../src/storage/log/segment.ts'
import { malformed } from '../../src/wire/proto.ts'
import {
  decodeJobCall,
  decodeJobOffers,
  decodeJobReply,
  encodeJobCall,
  encodeJobOffers,
  encodeJobReply
} from '../../src/wire/job.ts'
import { encodeManifest, readManifestHeader } from '../../src/services/compute/manifest.ts'
import { decodeSpec, encodeSpec } from '../../src/services/compute/spec.ts'
import { encodeFrame, FrameDecoder, type Frame } from '../../src/wire/frame.ts'
import {
  decodeGenesis,
  decodeSignedGenesis,
  encodeGenesis,
  encodeSignedGenesis,
  type Genesis,
  type SignedGenesis
} from '../../src/wire/genesis.ts'
import { decodeHello, encodeHello, type Hello } from '../../src/wire/hello.ts'
import { decodeMembershipMessage, encodeMembershipMessage } from '../../src/wire/membership.ts'
import { decodeRemembered, encodeRemembered } from '../../src/wire/remembered.ts'
import {
  decodeNodeRequest,
  decodeNodeStatus,
  decodeRecovered,
  decodeReplicas,
  decodeScrubReply,
  encodeNodeRequest,
  encodeNodeStatus,
  encodeRecovered,
  encodeReplicas,
  encodeScrubReply,
  type NodeRequest,
  type NodeStatusReply,
  type ReplicasReply,
  type ScrubReply
} from '../../src/wire/node.ts'
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

import {
  decodeStreamCall,
  decodeStreamReply,
  encodeStreamCall,
  encodeStreamReply
} from '../../src/wire/stream.ts'
import { decodeShardRequest, encodeShardRequest } from '../../src/wire/shard.ts'
import { decodeRaftFrame, encodeRaftFrame } from '../../src/wire/shard-frame.ts'
import { decodeShardReply, encodeShardReply } from '../../src/wire/shard-reply.ts'
import {
  decodeChunk,
  decodeChunkRequest,
  decodeSnapshotHandle,
  encodeChunk,
  encodeChunkRequest,
  encodeSnapshotHandle
} from '../../src/wire/shard-snapshot.ts'

/** Bytes anywhere in a value as hexadecimal behind `hex:`, and back. */
function withBytes<T>(parts: {
  decode: (bytes: Uint8Array, context: Context) => T
  encode: (value: T) => Uint8Array
}): Codec {
  const isHex = (value: unknown): value is string =>
    typeof value === 'string' && value.startsWith('hex:')
  return {
    decode: (bytes, context = {}) => {
      // Not the second argument: a Buffer has become something else by then.
      const text = JSON.stringify(
        parts.decode(bytes, context),
        function (this: object, key: string) {
          const value = (this as Record<string, unknown>)[key]
          return value instanceof Uint8Array ? `hex:${toHex(value)}` : value
        }
      )
      return JSON.parse(text) as unknown
    },
    encode: (value) => {
      const revived = JSON.parse(JSON.stringify(value), (_, inner: unknown) =>
        isHex(inner) ? hexBytes(inner.slice(4)) : inner
      ) as T
      return parts.encode(revived)
    }
  }
}

/** What a vector may say besides its bytes. */
type Context = {
  /** How many ids or calls the request had that a reply answers. */
  asked?: number | undefined
  /** Longest frame accepted. */
  frameBytesMax?: number | undefined
}

export type Codec = {
  /** @returns a value fit for JSON. @throws what the codec throws */
  decode(bytes: Uint8Array, context?: Context): unknown
  /** @param value what `decode` returned, or its JSON. */
  encode(value: unknown): Uint8Array
}

function hexBytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'))
}

/** Makes a codec speak JSON: the fields named are bytes, all others stay as they are. */
function codec<T extends object>(parts: {
  decode: (bytes: Uint8Array, context: Context) => T
  encode: (value: T) => Uint8Array
  bytes?: readonly string[]
}): Codec {
  const { bytes: fields = [] } = parts
  return {
    decode: (bytes, context = {}) => {
      const entries = Object.entries(parts.decode(bytes, context))
        .filter(([, value]) => value !== undefined)
        .map(([key, value]) => [key, fields.includes(key) ? toHex(value as Uint8Array) : value])
      return JSON.parse(JSON.stringify(Object.fromEntries(entries))) as unknown
    },
    encode: (value) => {
      const entries = Object.entries(value as object).map(([key, field]) => [
        key,
        fields.includes(key) ? hexBytes(field as string) : field
      ])
      return parts.encode(Object.fromEntries(entries) as T)
    }
  }
}

/** Thrown for bytes that end in the middle of a frame: no fault of theirs, but no frame either. */
export class Incomplete extends Error {}

function decodeOneFrame(bytes: Uint8Array, context: Context): Frame {
  const decoder = new FrameDecoder(context.frameBytesMax ?? BLOCK_FRAME_BYTES_MAX)
  const [frame, ...others] = decoder.push(bytes)
  if (frame === undefined || decoder.partial) throw new Incomplete('The frame is not complete')
  if (others.length > 0) throw new Error('There is more than one frame')
  return frame
}

/** The vectors' log id. */
const LOG_ID = Uint8Array.from({ length: 16 }, (_, index) => index)
const HEAD_BYTES = 44

function decodeOneHead(bytes: Uint8Array): SegmentHeader {
  const header = decodeSegmentHead(bytes)
  if (header === undefined) throw malformed('segment header', 'neither copy is intact')
  return header
}

/** Of the first copy, without the zeros after it. */
function encodeOneHead(header: SegmentHeader): Uint8Array {
  return encodeSegmentHead(header).slice(0, HEAD_BYTES)
}

function decodeOneRecord(bytes: Uint8Array): RecordDraft {
  const records = new RecordCodec(LOG_ID)
  const header = records.readHeader(Buffer.from(bytes), 0)
  if (header === undefined) throw malformed('record', 'its header is not intact')
  const payload = bytes.slice(RECORD_HEADER_BYTES)
  if (payload.length !== header.length || !records.isPayloadIntact(header, payload)) {
    throw malformed('record', 'its payload is not intact')
  }
  const { kind, sequence, batch, group, previous } = header
  return { kind, sequence, batch, group, previous, payload }
}

function encodeOneRecord(draft: RecordDraft): Uint8Array {
  const target = Buffer.alloc(RECORD_HEADER_BYTES + draft.payload.length)
  new RecordCodec(LOG_ID).write(target, 0, draft)
  return target
}

function decodeManifest(bytes: Uint8Array): Uint8Array[] {
  const { bytes: length, offsets } = readManifestHeader(bytes)
  if (bytes.length !== length) throw malformed('manifest', `it has ${bytes.length} bytes`)
  return offsets.slice(1).map((end, task) => bytes.slice(offsets[task], end))
}

export const CODECS: Readonly<Record<string, Readonly<Record<string, Codec>>>> = {
  frame: {
    Frame: codec<Frame>({ decode: decodeOneFrame, encode: encodeFrame, bytes: ['body'] })
  },
  genesis: {
    Genesis: codec<Genesis>({ decode: decodeGenesis, encode: encodeGenesis, bytes: ['nonce'] }),
    SignedGenesis: codec<SignedGenesis>({
      decode: decodeSignedGenesis,
      encode: encodeSignedGenesis,
      bytes: ['genesis', 'signature']
    })
  },
  hello: {
    Hello: codec<Hello>({ decode: decodeHello, encode: encodeHello, bytes: ['signedGenesis'] })
  },
  membership: {
    Message: codec<MembershipMessage>({
      decode: (bytes) => decodeMembershipMessage(bytes),
      encode: encodeMembershipMessage
    }),
    Remembered: codec<{ updates: MemberUpdate[] }>({
      decode: (bytes) => ({ updates: decodeRemembered(bytes) }),
      encode: ({ updates }) => encodeRemembered(updates)
    })
  },
  block: {
    Request: codec<BlockRequest>({
      decode: decodeBlockRequest,
      encode: (value) => concatBytes(encodeBlockRequest(value)),
      bytes: ['bytes']
    }),
    Reply: codec<BlockReply>({
      decode: (bytes, { asked }) => decodeBlockReply(bytes, asked ?? 0),
      encode: (value) => concatBytes(encodeBlockReply(value)),
      bytes: ['payload']
    })
  },
  raft: {
    Entry: withBytes({ decode: decodeEntry, encode: encodeEntry }),
    ConfigState: withBytes({ decode: decodeConfigState, encode: encodeConfigState }),
    HardState: withBytes({ decode: decodeHardState, encode: encodeHardState }),
    Snapshot: withBytes({ decode: decodeSnapshot, encode: encodeSnapshot }),
    Message: withBytes({ decode: decodeRaftMessage, encode: encodeRaftMessage })
  },
  shard: {
    RaftFrame: withBytes({ decode: decodeRaftFrame, encode: encodeRaftFrame }),
    Request: withBytes({
      decode: (bytes) => ({ calls: decodeShardRequest(bytes) }),
      encode: ({ calls }) => encodeShardRequest(calls)
    }),
    Reply: withBytes({
      decode: (bytes, { asked }) => ({ results: decodeShardReply(bytes, asked ?? 1) }),
      encode: ({ results }) => encodeShardReply(results)
    }),
    SnapshotHandle: withBytes({ decode: decodeSnapshotHandle, encode: encodeSnapshotHandle }),
    ChunkRequest: withBytes({ decode: decodeChunkRequest, encode: encodeChunkRequest }),
    Chunk: withBytes({ decode: decodeChunk, encode: encodeChunk })
  },
  log: {
    SegmentHead: withBytes({ decode: decodeOneHead, encode: encodeOneHead }),
    Record: withBytes({ decode: decodeOneRecord, encode: encodeOneRecord }),
    Update: withBytes({
      decode: (bytes) => ({
        ...decodeUpdate(Buffer.from(bytes)),
        entries: decodeEntries(Buffer.from(bytes))
      }),
      encode: ({ entries, ...update }) => encodeUpdate(update, entries.map(encodeEntry))
    }),
    Catalog: withBytes({
      decode: (bytes) => ({ groups: decodeCatalog(Buffer.from(bytes)) }),
      encode: ({ groups }) => encodeCatalog(groups)
    })
  },
  collect: {
    Request: withBytes({ decode: decodeCollectRequest, encode: encodeCollectRequest }),
    Reply: withBytes({ decode: decodeCollectReply, encode: encodeCollectReply })
  },
  stream: {
    Call: withBytes({ decode: decodeStreamCall, encode: encodeStreamCall }),
    Reply: withBytes({ decode: decodeStreamReply, encode: encodeStreamReply })
  },
  job: {
    Call: withBytes({ decode: decodeJobCall, encode: encodeJobCall }),
    Reply: withBytes({ decode: decodeJobReply, encode: encodeJobReply }),
    Offers: withBytes({
      decode: (bytes) => ({ offers: decodeJobOffers(bytes) }),
      encode: ({ offers }) => encodeJobOffers(offers)
    }),
    JobSpec: withBytes({ decode: decodeSpec, encode: encodeSpec }),
    Manifest: withBytes({
      decode: (bytes) => ({ inputs: decodeManifest(bytes) }),
      encode: ({ inputs }) => encodeManifest(inputs)
    })
  },
  node: {
    Request: codec<NodeRequest>({
      decode: decodeNodeRequest,
      encode: (value) => encodeNodeRequest(value)
    }),
    StatusReply: codec<NodeStatusReply>({ decode: decodeNodeStatus, encode: encodeNodeStatus }),
    ScrubReply: codec<ScrubReply>({ decode: decodeScrubReply, encode: encodeScrubReply }),
    ReplicasReply: codec<ReplicasReply>({ decode: decodeReplicas, encode: encodeReplicas }),
    RecoverReply: codec<{ generation: number }>({
      decode: (bytes) => ({ generation: decodeRecovered(bytes) }),
      encode: ({ generation }) => encodeRecovered(generation)
    })
  }
}

/** @returns the code of what `work` throws; "none" when it throws nothing. @throws anything else */
export function codeOf(work: () => unknown): string {
  try {
    work()
    return 'none'
  } catch (error) {
    if (error instanceof MeshError) return error.code
    throw error
  }
}
