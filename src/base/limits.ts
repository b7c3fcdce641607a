// Every bound that is shared by layers, with the relations between them asserted when loaded.

import { assert } from './assert.ts'
import { GIB, KIB, MIB, TIB } from './units.ts'

/** Copies of a block, and the owners of an arc where enough members are there. */
export const REPLICATION = 3
/** Arcs of the block ring, fixed at genesis. */
export const ARC_COUNT = 4_096
/** Raft groups of a mesh, fixed at genesis. */
export const SHARD_COUNT = 32
/** Members of a mesh, at most. */
export const MEMBER_COUNT_MAX = 1_000

/** A leaf of a file. Also IPFS's larger common chunk size, so that CIDs agree. */
export const CHUNK_BYTES: number = MIB
/** A block, at most: a chunk, or an inner node of a file's tree. */
export const BLOCK_BYTES_MAX: number = 2 * MIB
/** Room in a frame besides its largest payload. */
const FRAME_OVERHEAD_BYTES_MAX: number = 16 * KIB
/** A frame on any stream that carries blocks. */
export const BLOCK_FRAME_BYTES_MAX: number = BLOCK_BYTES_MAX + FRAME_OVERHEAD_BYTES_MAX
/** A frame on any other stream. */
export const CONTROL_FRAME_BYTES_MAX: number = MIB

/** Placement weight is capacity in this unit: fine enough for an SD card. */
export const CAPACITY_UNIT_BYTES: number = GIB / 4
export const WEIGHT_MAX = 65_535
/** About 16 TiB: what one member may declare. A larger claim is refused, not believed. */
export const CAPACITY_BYTES_MAX: number = WEIGHT_MAX * CAPACITY_UNIT_BYTES
/** Below this a node is of no use as a member. */
export const CAPACITY_BYTES_MIN: number = 64 * MIB

export const NAME_LENGTH_MAX = 63
export const ZONE_LENGTH_MAX = 63
export const LABEL_COUNT_MAX = 32
export const LABEL_LENGTH_MAX = 128
export const ADDRESS_COUNT_MAX = 16
export const ADDRESS_LENGTH_MAX = 512

assert(CHUNK_BYTES <= BLOCK_BYTES_MAX, 'a chunk fits a block')
assert(BLOCK_BYTES_MAX < BLOCK_FRAME_BYTES_MAX, 'a block fits a frame')
assert(CAPACITY_BYTES_MAX < 16 * TIB, 'the capacity limit is what the documents say')
