// Calls to other nodes: those of one turn for the same node and group travel together.

import { toMeshError, type MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Network } from '../net/network.ts'
import {
  CALL_HEAD_BYTES,
  CALLS_MAX,
  encodeShardCall,
  encodeShardRequest,
  joinShardCalls,
  SHARD_FRAME_BYTES_MAX,
  SHARD_PROTOCOL
} from '../wire/shard.ts'
import type { ShardCall } from '../wire/shard.ts'
import { decodeShardReply } from '../wire/shard-reply.ts'
import type { ShardResult } from '../wire/shard-reply.ts'
import { KIB } from '../base/units.ts'

const BODY_BYTES_MAX: number = SHARD_FRAME_BYTES_MAX - 16 * KIB

type Waiting = {
  /** The call, encoded. */
  readonly bytes: Uint8Array
  readonly timeoutMs: number
  readonly resolve: (result: ShardResult) => void
  readonly reject: (error: MeshError) => void
}

type Batch = { readonly peer: PeerId; readonly waiting: Waiting[] }

export class CallBatcher {
  readonly #network: Network
  readonly #defer: (task: () => void) => void
  /** By peer and group. */
  #batches = new Map<string, Batch>()

  constructor(network: Network, defer: (task: () => void) => void) {
    this.#network = network
    this.#defer = defer
  }

  /** @throws what a request fails with: timeout, unreachable, overloaded, … */
  async send(peer: PeerId, call: ShardCall, timeoutMs: number): Promise<ShardResult> {
    const bytes = encodeShardCall(call)
    return await new Promise<ShardResult>((resolve, reject) => {
      const group = call.kind === 'layout' || !('group' in call.target) ? '' : call.target.group
      const key = `${peer} ${group}`
      let batch = this.#batches.get(key)
      if (batch === undefined) {
        batch = { peer, waiting: [] }
        this.#batches.set(key, batch)
        if (this.#batches.size === 1) this.#defer(() => this.#flush())
      }
      batch.waiting.push({ bytes, timeoutMs, resolve, reject })
    })
  }

  /** By itself, for calls that take their time. */
  async sendAlone(
    peer: PeerId,
    call: ShardCall,
    options: { timeoutMs: number; signal?: AbortSignal | undefined }
  ): Promise<ShardResult> {
    const body = encodeShardRequest([call])
    const reply = await this.#network.request(peer, SHARD_PROTOCOL, body, options)
    return decodeShardReply(reply, 1)[0] as ShardResult
  }

  #flush(): void {
    const batches = this.#batches
    this.#batches = new Map()
    for (const { peer, waiting } of batches.values()) {
      let part: Waiting[] = []
      let bytes = 0
      for (const one of waiting) {
        const more = one.bytes.length + CALL_HEAD_BYTES
        const isFull = part.length === CALLS_MAX || bytes + more > BODY_BYTES_MAX
        if (isFull && part.length > 0) {
          void this.#request(peer, part)
          part = []
          bytes = 0
        }
        part.push(one)
        bytes += more
      }
      void this.#request(peer, part)
    }
  }

  async #request(peer: PeerId, waiting: readonly Waiting[]): Promise<void> {
    try {
      const body = joinShardCalls(waiting.map(({ bytes }) => bytes))
      const timeoutMs = Math.max(...waiting.map((one) => one.timeoutMs))
      const reply = await this.#network.request(peer, SHARD_PROTOCOL, body, { timeoutMs })
      const results = decodeShardReply(reply, waiting.length)
      for (const [place, { resolve }] of waiting.entries()) resolve(results[place] as ShardResult)
    } catch (error) {
      const failure = toMeshError(error)
      for (const { reject } of waiting) reject(failure)
    }
  }
}
