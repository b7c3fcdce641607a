// What nodes ask of each other besides blocks: how are you, check your blocks, what have you of the
// groups, found one anew. protocols/node.

import { errorMessage } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { CONTROL_FRAME_BYTES_MAX } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import type { Blocks } from '../blocks/blocks.ts'
import type { ScrubReport } from '../blocks/scrub.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Network } from '../net/network.ts'
import { refound } from '../shard/refound.ts'
import { reportReplicas } from '../shard/replica-report.ts'
import type { ShardLayer } from '../shard/shard-layer.ts'
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
  type RecoverOrder,
  type ReplicasReply
} from '../wire/node.ts'

const NODE_PROTOCOL = '/atoll/node/1.0.0'

const NODE_SERVED_MAX = 8
const STATUS_TIMEOUT_MS = 1_500
/** Founding a group anew is three writes to the disk. */
const RECOVER_TIMEOUT_MS = 30_000
/** A pass over a large disk takes long; the limit of any request is an hour. */
const SCRUB_TIMEOUT_MS = 3_600_000

export type ColleaguesComponents = {
  network: Network
  log: Logger
  mesh: Mesh
  blocks: Blocks
  shardLayer: ShardLayer
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
    if (peer === this.#components.mesh.self) return this.#ownStatus()
    const body = await this.#ask(peer, { kind: 'status' })
    return body === undefined ? undefined : decodeNodeStatus(body)
  }

  /** @returns what a member has of the groups, or undefined when it doesn't answer. */
  async replicasOf(peer: PeerId): Promise<ReplicasReply | undefined> {
    if (peer === this.#components.mesh.self) return this.#ownReplicas()
    const body = await this.#ask(peer, { kind: 'replicas' })
    return body === undefined ? undefined : decodeReplicas(body)
  }

  /**
   * Has a member found a new generation of a group from what it has.
   *
   * @returns the new generation @throws as `refound`; unreachable, timeout: it may have been done
   */
  async recoverAt(peer: PeerId, order: Omit<RecoverOrder, 'kind'>): Promise<number> {
    const { network, mesh, shardLayer } = this.#components
    if (peer === mesh.self) return await refound(shardLayer.host, order)
    const body = encodeNodeRequest({ kind: 'recover', ...order })
    const options = { timeoutMs: RECOVER_TIMEOUT_MS }
    return decodeRecovered(await network.request(peer, NODE_PROTOCOL, body, options))
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

  async #ask(peer: PeerId, request: NodeRequest): Promise<Uint8Array | undefined> {
    const { network, mesh, log } = this.#components
    if (!mesh.isReachable(peer)) return undefined
    try {
      const options = { timeoutMs: STATUS_TIMEOUT_MS }
      return await network.request(peer, NODE_PROTOCOL, encodeNodeRequest(request), options)
    } catch (error) {
      log.debug('node.unanswered', { peer, kind: request.kind, reason: errorMessage(error) })
      return undefined
    }
  }

  async #answer(request: NodeRequest, signal: AbortSignal): Promise<Uint8Array> {
    const { blocks, shardLayer } = this.#components
    switch (request.kind) {
      case 'status':
        return encodeNodeStatus(this.#ownStatus())
      case 'replicas':
        return encodeReplicas(this.#ownReplicas())
      case 'recover':
        return encodeRecovered(await refound(shardLayer.host, request))
      case 'scrub': {
        const { bytesPerSecond } = request
        const options = bytesPerSecond === undefined ? { signal } : { bytesPerSecond, signal }
        return encodeScrubReply(await blocks.scrub(options))
      }
    }
  }

  #ownReplicas(): ReplicasReply {
    const { host, router } = this.#components.shardLayer
    return {
      replicas: reportReplicas(host, router.count),
      failure: host.failure()?.message ?? ''
    }
  }

  #ownStatus(): NodeStatusReply {
    const { blocks, mesh, agent, shardLayer } = this.#components
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
      agent,
      ledGroups: shardLayer.ledCount
    }
  }
}
