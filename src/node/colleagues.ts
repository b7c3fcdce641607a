// What nodes ask of each other besides blocks: how are you, check your blocks. protocols/node.

import { errorMessage } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { CONTROL_FRAME_BYTES_MAX } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import type { Blocks } from '../blocks/blocks.ts'
import type { ScrubReport } from '../blocks/scrub.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Network } from '../net/network.ts'
import {
  decodeNodeRequest,
  decodeNodeStatus,
  decodeScrubReply,
  encodeNodeRequest,
  encodeNodeStatus,
  encodeScrubReply,
  type NodeRequest,
  type NodeStatusReply
} from '../wire/node.ts'

const NODE_PROTOCOL = '/atoll/node/1.0.0'

const NODE_SERVED_MAX = 8
const STATUS_TIMEOUT_MS = 1_500
/** A pass over a large disk takes long; the limit of any request is an hour. */
const SCRUB_TIMEOUT_MS = 3_600_000

export type ColleaguesComponents = {
  network: Network
  log: Logger
  mesh: Mesh
  blocks: Blocks
  /** Software version, for people. */
  agent: string
}

/** One member's part of a scrub. */
export type ScrubOutcome = {
  peerId: PeerId
  /** Undefined when the member didn't do it. */
  report: ScrubReport | undefined
  /** Why it didn't. */
  error: string | undefined
}

type ScrubOptions = { bytesPerSecond?: number; signal?: AbortSignal | undefined }

export class Colleagues {
  readonly #components: ColleaguesComponents

  constructor(components: ColleaguesComponents) {
    this.#components = components
    components.network.handle(
      NODE_PROTOCOL,
      { frameBytesMax: CONTROL_FRAME_BYTES_MAX, servedPerPeerMax: NODE_SERVED_MAX },
      async (body, { signal }) => await this.#answer(decodeNodeRequest(body), signal)
    )
  }

  /** @returns what a member says of itself, or undefined when it doesn't answer. */
  async statusOf(peer: PeerId): Promise<NodeStatusReply | undefined> {
    const { network, mesh, log } = this.#components
    if (peer === mesh.self) return this.#ownStatus()
    if (!mesh.isReachable(peer)) return undefined
    try {
      const body = encodeNodeRequest({ kind: 'status' })
      const options = { timeoutMs: STATUS_TIMEOUT_MS }
      return decodeNodeStatus(await network.request(peer, NODE_PROTOCOL, body, options))
    } catch (error) {
      log.debug('status.unanswered', { peer, reason: errorMessage(error) })
      return undefined
    }
  }

  /** Has every member check its blocks. Rejects only with `signal.reason`. */
  async scrub(options: ScrubOptions): Promise<ScrubOutcome[]> {
    const { mesh } = this.#components
    return await Promise.all(
      [mesh.self, ...mesh.others()].map(async (peerId) => {
        try {
          return { peerId, report: await this.#scrubAt(peerId, options), error: undefined }
        } catch (error) {
          options.signal?.throwIfAborted()
          return { peerId, report: undefined, error: errorMessage(error) }
        }
      })
    )
  }

  async #scrubAt(peer: PeerId, options: ScrubOptions): Promise<ScrubReport> {
    const { network, mesh, blocks } = this.#components
    if (peer === mesh.self) return await blocks.scrub(options)
    const request = encodeNodeRequest({ kind: 'scrub', bytesPerSecond: options.bytesPerSecond })
    const { signal } = options
    return decodeScrubReply(
      await network.request(peer, NODE_PROTOCOL, request, { timeoutMs: SCRUB_TIMEOUT_MS, signal })
    )
  }

  async #answer(request: NodeRequest, signal: AbortSignal): Promise<Uint8Array> {
    if (request.kind === 'status') return encodeNodeStatus(this.#ownStatus())
    const { bytesPerSecond } = request
    const options = bytesPerSecond === undefined ? { signal } : { bytesPerSecond, signal }
    return encodeScrubReply(await this.#components.blocks.scrub(options))
  }

  #ownStatus(): NodeStatusReply {
    const { blocks, mesh, agent } = this.#components
    const { count, bytes, underReplicated, missing, pendingMoves } = blocks.status()
    const { version, hash } = mesh.layout()
    return {
      usedBytes: bytes,
      blockCount: count,
      underReplicated,
      missing,
      pendingMoves,
      layoutHash: hash,
      layoutVersion: version,
      agent
    }
  }
}
