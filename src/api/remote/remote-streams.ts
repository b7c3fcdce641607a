// Streams for a program that is no node: its inboxes are at the node that it is connected to, and end
// with the connection.

import type { Clock } from '../../base/clock.ts'
import { MeshError, isMeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import { SECOND_MS } from '../../base/units.ts'
import { Rpc } from '../../net/rpc.ts'
import type { Batch, StreamsClient } from '../../services/streams/streams.ts'
import {
  decodeStreamReply,
  encodeStreamCall,
  STREAM_FRAME_BYTES_MAX,
  STREAM_PROTOCOL,
  STREAM_SERVED_MAX,
  type StreamCall,
  type StreamReply
} from '../../wire/stream.ts'
import { THE_NODE } from './api-protocol.ts'
import type { Opener } from './remote-shards.ts'

/** Longer than the node waits for a receiver. */
const SEND_MS: number = 35 * SECOND_MS
/** Then it is asked anew. */
const RECEIVE_MS: number = 60 * SECOND_MS
const OPEN_MS: number = 10 * SECOND_MS

type Reply<Kind extends StreamReply['kind']> = Extract<StreamReply, { kind: Kind }>

export class RemoteStreams implements StreamsClient {
  readonly #rpc: Rpc

  constructor(components: { open: Opener; clock: Clock; log: Logger }) {
    const { open, clock, log } = components
    this.#rpc = new Rpc({
      clock,
      log,
      open: async (_peer, _protocol, { signal }) => (await open({ signal })).stream
    })
    const options = { frameBytesMax: STREAM_FRAME_BYTES_MAX, servedPerPeerMax: STREAM_SERVED_MAX }
    this.#rpc.handle(STREAM_PROTOCOL, options, () => {
      throw new MeshError('unsupported-protocol', 'A program serves nothing')
    })
  }

  async open(inbox: string): Promise<PeerId> {
    return (await this.#ask({ kind: 'open', inbox }, 'opened', OPEN_MS)).peer
  }

  async receive(inbox: string): Promise<readonly Uint8Array[]> {
    try {
      return (await this.#ask({ kind: 'receive', inbox }, 'received', RECEIVE_MS)).batches
    } catch (error) {
      if (isMeshError(error, 'timeout')) return []
      throw error
    }
  }

  async send(peer: PeerId, batch: Batch): Promise<number> {
    return (await this.#ask({ kind: 'send', ...batch, peer }, 'taken', SEND_MS)).credit
  }

  /** Ends the connection, and with it the inboxes. Idempotent. */
  stop(): void {
    this.#rpc.stop()
  }

  async #ask<Kind extends StreamReply['kind']>(
    call: StreamCall,
    kind: Kind,
    timeoutMs: number
  ): Promise<Reply<Kind>> {
    const body = encodeStreamCall(call)
    const reply = decodeStreamReply(
      await this.#rpc.request(THE_NODE, STREAM_PROTOCOL, body, { timeoutMs })
    )
    if (reply.kind === kind) return reply as Reply<Kind>
    throw new MeshError('invalid-data', `The node answered with "${reply.kind}"`)
  }
}
