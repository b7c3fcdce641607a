// Answers calls of shards from the replicas of this node: protocols/shard, rules on calls.

import type { Clock } from '../base/clock.ts'
import { MeshError, toMeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { shardOf } from '../core/groups/shard-of.ts'
import { encode } from '../core/machine/codec.ts'
import { CHANGES } from '../core/machine/own-queries.ts'
import type { Network } from '../net/network.ts'
import { failedResult } from '../wire/shard-failure.ts'
import { decodeShardRequest, SHARD_FRAME_BYTES_MAX, SHARD_PROTOCOL } from '../wire/shard.ts'
import type { ChangesCall, ExecuteCall, GroupTarget, QueryCall, ShardCall } from '../wire/shard.ts'
import { encodeShardReply } from '../wire/shard-reply.ts'
import type { ShardResult } from '../wire/shard-reply.ts'
import type { ShardHost } from './host.ts'
import type { Replica } from './replica.ts'

/** Bodies of one peer that are worked on at once; those that wait for changes are among them. */
const SERVED_PER_PEER_MAX = 4_096
/** How long a read waits for a leader to confirm it. */
const CONFIRM_MS = 2_000

export type ShardServerParts = {
  readonly network: Network
  readonly clock: Clock
  readonly host: ShardHost
  /** Shards of the mesh. */
  readonly count: number
  /** The committed layout in its bytes, when it is newer than that version. */
  readonly layoutAfter: (version: number) => Uint8Array | undefined
}

export class ShardServer {
  readonly #parts: ShardServerParts

  /** Registers the protocol, so it is made before the network is started. */
  constructor(parts: ShardServerParts) {
    this.#parts = parts
    parts.network.handle(
      SHARD_PROTOCOL,
      { frameBytesMax: SHARD_FRAME_BYTES_MAX, servedPerPeerMax: SERVED_PER_PEER_MAX },
      async (body, { signal }) => {
        const calls = decodeShardRequest(body)
        const results = calls.map(async (call) => await this.call(call, signal))
        return encodeShardReply(await Promise.all(results))
      }
    )
  }

  /** Whether a replica here can answer reads as it is. */
  has(group: number): boolean {
    return isUsable(this.#parts.host.replica(group))
  }

  /** Whether it knows a leader, who could confirm that it is up to date. */
  isLed(group: number): boolean {
    return this.has(group) && this.#parts.host.replica(group)?.isLed === true
  }

  /** Whether there is a replica here that hears no leader. */
  isLeaderless(group: number): boolean {
    return this.has(group) && !this.isLed(group)
  }

  leads(group: number): boolean {
    return this.#parts.host.replica(group)?.isLeader === true
  }

  /** @returns what the call answers; failures too. Rejects never. */
  async call(call: ShardCall, signal?: AbortSignal): Promise<ShardResult> {
    try {
      return await this.#answer(call, signal)
    } catch (error) {
      const failure = toMeshError(error)
      const leader = failure.details['leader'] as PeerId | undefined
      return failedResult(failure, leader)
    }
  }

  async #answer(call: ShardCall, signal?: AbortSignal): Promise<ShardResult> {
    switch (call.kind) {
      case 'execute':
        return await this.#execute(call)
      case 'query':
        return await this.#query(call)
      case 'changes':
        return await this.#changes(call, signal)
      case 'layout':
        return { kind: 'layout', layout: this.#parts.layoutAfter(call.knownVersion) }
    }
  }

  async #execute({ target, request }: ExecuteCall): Promise<ShardResult> {
    const replica = this.#replica(target)
    this.#checkSpace(request.space, replica.group)
    const answer = await replica.execute(request)
    if (answer.kind === 'refused') return { ...failedResult(answer.error), isDecided: true }
    return { kind: 'done', revision: answer.revision, result: answer.result }
  }

  async #query({ target, name, version, args, isStale }: QueryCall): Promise<ShardResult> {
    const replica = this.#replica(target)
    if (!isStale) await replica.confirm(CONFIRM_MS)
    return this.#read(replica, () => replica.applied.queries.answer(name, version, args))
  }

  async #changes(
    { target, query, waitMs }: ChangesCall,
    signal?: AbortSignal
  ): Promise<ShardResult> {
    const replica = this.#replica(target)
    const deadlineMs = this.#parts.clock.monotonicMs() + waitMs
    let asked = query
    for (;;) {
      const page = replica.applied.machine.reads.changesSince(asked)
      const leftMs = deadlineMs - this.#parts.clock.monotonicMs()
      const isReady = page.revisions.length > 0 || leftMs <= 0 || signal?.aborted === true
      if (isReady) return this.#read(replica, () => encode(CHANGES.result, page).slice())
      // Changes elsewhere in the shard need not be looked through again.
      asked = { ...asked, revision: page.next }
      if (page.isUpToDate) await this.#revised(replica, leftMs, signal)
      if (replica.hasEnded) throw replica.notLeader()
    }
  }

  /** Waits until the replica's revision grows, or for `waitMs`. */
  async #revised(replica: Replica, waitMs: number, signal?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = (): void => {
        forget()
        timer.cancel()
        signal?.removeEventListener('abort', end)
        resolve()
      }
      const forget = replica.onceRevised(end)
      const timer = this.#parts.clock.after(waitMs, end)
      signal?.addEventListener('abort', end)
    })
  }

  #read(replica: Replica, read: () => Uint8Array): ShardResult {
    const { revision } = replica.applied.machine
    return { kind: 'done', revision, result: read() }
  }

  /** @throws not-leader when there is none here that could know */
  #replica(target: GroupTarget): Replica {
    const group = 'group' in target ? target.group : shardOf(target.space, this.#parts.count) + 1
    const replica = this.#parts.host.replica(group)
    if (replica !== undefined && isUsable(replica)) return replica
    if (replica?.isChecked === false) {
      const problem = `This node has started, and is still reading what it has of group ${group}`
      throw new MeshError('not-leader', problem, { details: replica.notLeader().details })
    }
    const failure = this.#parts.host.failure()
    const why = failure === undefined ? '' : `: ${failure.message}`
    throw new MeshError('not-leader', `This node has no replica of group ${group}${why}`)
  }

  /** @throws invalid-argument for a command that would never be found again */
  #checkSpace(space: Uint8Array, group: number): void {
    if (space.length === 0 || group === 0) return
    const shard = shardOf(space, this.#parts.count)
    if (shard === group - 1) return
    throw new MeshError('invalid-argument', `That space is of shard ${shard}, not of ${group - 1}`)
  }
}

/** Whether it has something, and what it has is known to be right. */
function isUsable(replica: Replica | undefined): boolean {
  return replica !== undefined && replica.isChecked && replica.applied.index > 0
}
