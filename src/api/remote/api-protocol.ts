// The connection that programs on this machine have to their node: an HTTP Upgrade with the API's
// token, and then the frames of every Atoll stream: protocols/api.

import { peerId } from '../../base/ids.ts'
import type { PeerId } from '../../base/ids.ts'
import { SECOND_MS } from '../../base/units.ts'
import { SHARD_FRAME_BYTES_MAX } from '../../wire/shard.ts'

export const API_UPGRADE = 'atoll-api'
export const API_PATH = '/v1/connect'
/** A connection for streams: the same way, and then protocols/stream. */
export const STREAMS_UPGRADE = 'atoll-streams'
export const STREAMS_PATH = '/v1/streams'
/** Header of the answer: how many shards the mesh has. */
export const SHARDS_HEADER = 'atoll-shards'

/** The RPC layer asks for a protocol and a peer; a connection has one of each. */
export const API_PROTOCOL = '/atoll/api/1.0.0'
export const THE_NODE: PeerId = peerId('node')
export const THE_PROGRAM: PeerId = peerId('program')

export const API_OPTIONS: { readonly frameBytesMax: number; readonly servedPerPeerMax: number } = {
  frameBytesMax: SHARD_FRAME_BYTES_MAX,
  servedPerPeerMax: 4_096
}

/** a request has so much more time than what it asks for. */
export const ANSWER_MS: number = SECOND_MS
