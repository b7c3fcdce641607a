// The committed layout: at the leader of the system group it is brought in line with the members, at
// every node it is learned from replicas of that group and from peers, by version.

import { sleep, type Clock, type Timer } from '../base/clock.ts'
import { utf8 } from '../base/bytes.ts'
import { errorMessage, isMeshError, MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import {
  decodeCommittedLayout,
  encodeCommittedLayout,
  membersAfter,
  nextCommittedLayout
} from '../core/groups/committed-layout.ts'
import type { CommittedLayout, LayoutMember, LayoutShape } from '../core/groups/committed-layout.ts'
import { TXN } from '../core/machine/kv.ts'
import type { Entry } from '../core/machine/records.ts'
import { AREAS } from '../core/machine/state-keys.ts'
import type { Network, Unsubscribe } from '../net/network.ts'
import { SYSTEM_GROUP } from '../wire/shard.ts'
import type { CallBatcher } from './call-batcher.ts'
import type { ShardHost } from './host.ts'
import { RAFT_TICK_MS } from './raft-core.ts'
import type { Replica } from './replica.ts'
import type { Router } from './router.ts'
import { SYSTEM } from './shards.ts'

/** Where the system group keeps it. */
const KEY: Uint8Array = utf8('layout')
/** How often a node asks a peer for a newer one: gossip may be lost. */
const PULL_MS = 5_000
/** Likewise while it has none. */
const FIRST_PULL_MS = 200
const PULL_TIMEOUT_MS = 2_000
const COMMIT_TIMEOUT_MS = 5_000
/** Who puts a member out waits so long for the layout to follow. */
const WITHOUT_MS = 10_000

export type LayoutKeeperParts = {
  readonly network: Network
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly host: ShardHost
  readonly router: () => Router
  readonly batcher: CallBatcher
  readonly topic: string
  readonly shape: LayoutShape
  /** Members that should own something, as this node knows them. */
  readonly members: () => readonly LayoutMember[]
  /** Whether a member has left, was put out, is gone or wants to go. */
  readonly isOut: (peer: PeerId) => boolean
  /** Other members that answer. */
  readonly others: () => readonly PeerId[]
  /** A newer layout: to be acted on, and kept for the next start. */
  readonly onLayout: (layout: CommittedLayout, encoded: Uint8Array) => void
}

type Looked = {
  readonly machine: object
  readonly revision: number
  readonly entry: Entry | undefined
  /** Undefined when there is none, or none that can be read. */
  readonly layout: CommittedLayout | undefined
}

export class LayoutKeeper {
  readonly #parts: LayoutKeeperParts
  readonly #known = Promise.withResolvers<void>()
  readonly #unsubscribe: Unsubscribe[] = []
  #layout: CommittedLayout | undefined
  #encoded: Uint8Array | undefined
  #pullTimer: Timer | undefined
  #watched: Replica | undefined
  #looked: Looked | undefined
  #isCommitting = false
  #isRunning = false

  /** @param remembered the layout of the last run */
  constructor(parts: LayoutKeeperParts, remembered: Uint8Array | undefined) {
    this.#parts = parts
    // Nobody may wait for it.
    this.#known.promise.catch(() => {})
    if (remembered !== undefined) this.#adopt(remembered)
  }

  current(): CommittedLayout | undefined {
    return this.#layout
  }

  /** @returns its bytes when it is newer than `version` */
  after(version: number): Uint8Array | undefined {
    return (this.#layout?.version ?? 0) > version ? this.#encoded : undefined
  }

  /** Resolves when there is one. @throws stopped */
  async known(): Promise<void> {
    await this.#known.promise
  }

  /** Resolves when a layout doesn't count on a member. @throws no-quorum when that takes too long */
  async without(peer: PeerId): Promise<void> {
    const { clock } = this.#parts
    const endMs = clock.monotonicMs() + WITHOUT_MS
    while (this.#layout?.members.some(({ id }) => id === peer) === true) {
      if (clock.monotonicMs() >= endMs) {
        const problem = 'a majority of the system group has to agree on a layout without it'
        throw new MeshError('no-quorum', `${peer} is out, but its place is kept: ${problem}`)
      }
      await sleep(clock, RAFT_TICK_MS)
    }
  }

  start(): void {
    this.#isRunning = true
    const { network, topic, host } = this.#parts
    this.#unsubscribe.push(
      network.subscribe(topic, (data, from) => this.#onNews(data, from)),
      host.onChanged((group) => {
        if (group === SYSTEM_GROUP) this.#watch()
      })
    )
    this.#watch()
    this.#pullSoon()
  }

  stop(): void {
    this.#isRunning = false
    this.#known.reject(new MeshError('stopped', 'The node is stopping'))
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    this.#pullTimer?.cancel()
  }

  /** Follows what the replica of the system group applies, where there is one here. */
  #watch(): void {
    const replica = this.#parts.host.replica(SYSTEM_GROUP)
    if (replica === undefined || replica === this.#watched || replica.hasEnded) return
    this.#watched = replica
    const look = (): void => {
      // Another one in its place is told by `onChanged`.
      if (replica.hasEnded) return
      replica.onceRevised(look)
      let found: Uint8Array | undefined
      replica.run(() => {
        found = replica.applied.machine.reads.get({ area: AREAS.kv, key: KEY }).entry?.value
      })
      if (found !== undefined) this.#adopt(found)
    }
    void replica.whenChecked().then(look)
  }

  #adopt(encoded: Uint8Array): void {
    const layout = this.#decoded(encoded)
    if (layout === undefined || layout.version <= (this.#layout?.version ?? 0)) return
    const { network, topic, log, onLayout } = this.#parts
    this.#layout = layout
    this.#encoded = encoded.slice()
    this.#known.resolve()
    onLayout(layout, this.#encoded)
    if (!this.#isRunning) return
    network.publish(topic, versionBytes(layout.version)).catch((error: unknown) => {
      log.debug('layout.not_published', { reason: errorMessage(error) })
    })
  }

  /** A layout that this program can't read is one of a newer program, and no reason to fail. */
  #decoded(encoded: Uint8Array): CommittedLayout | undefined {
    try {
      return decodeCommittedLayout(encoded)
    } catch (error) {
      if (!isMeshError(error)) throw error
      const { code, message: reason } = error
      this.#parts.log.error('layout.unreadable', { code, reason })
      return undefined
    }
  }

  /** What stands there, read once for each revision: the leader looks at it often. @throws corrupt */
  #look({ applied: { machine } }: Replica): Looked {
    const { revision } = machine
    if (this.#looked?.machine !== machine || this.#looked.revision !== revision) {
      const { entry } = machine.reads.get({ area: AREAS.kv, key: KEY })
      const layout = entry === undefined ? undefined : this.#decoded(entry.value)
      this.#looked = { machine, revision, entry, layout }
    }
    return this.#looked
  }

  #onNews(data: Uint8Array, from: PeerId): void {
    if (data.length !== 8) return
    const version = new DataView(data.buffer, data.byteOffset).getFloat64(0)
    if (version > (this.#layout?.version ?? 0)) void this.#pull(from)
  }

  #pullSoon(): void {
    if (!this.#isRunning) return
    const delayMs = this.#layout === undefined ? FIRST_PULL_MS : PULL_MS
    this.#pullTimer = this.#parts.clock.after(delayMs, () => {
      const others = this.#parts.others()
      const peer = others[this.#parts.random.below(Math.max(1, others.length))]
      if (peer === undefined) this.#pullSoon()
      else void this.#pull(peer).finally(() => this.#pullSoon())
    })
  }

  async #pull(peer: PeerId): Promise<void> {
    const call = { kind: 'layout', knownVersion: this.#layout?.version ?? 0 } as const
    try {
      const result = await this.#parts.batcher.send(peer, call, PULL_TIMEOUT_MS)
      if (result.kind === 'layout' && result.layout !== undefined && this.#isRunning) {
        this.#adopt(result.layout)
      }
    } catch (error) {
      this.#parts.log.debug('layout.not_pulled', { peer, reason: errorMessage(error) })
    }
  }

  /** A tick of the replicas has passed: changes of members within it become one layout. */
  tick(): void {
    if (this.#isRunning) void this.#commit()
  }

  /** The leader of the system group commits another layout when the members ask for one. */
  async #commit(): Promise<void> {
    const { host, members, isOut, shape, log } = this.#parts
    const replica = host.replica(SYSTEM_GROUP)
    if (replica?.isReadyToLead !== true || this.#isCommitting) return
    this.#isCommitting = true
    try {
      const { entry, layout: previous } = this.#look(replica)
      // One that can't be read isn't replaced either.
      if (entry !== undefined && previous === undefined) return
      const wanted = membersAfter(previous, members(), isOut)
      // Generations differ by more than layouts do: what former members of a group that was founded
      // anew have committed, or what was lost with them, is older than what this one commits.
      const { generation } = replica
      const next = nextCommittedLayout(previous, wanted, shape, generation)
      if (next === undefined || wanted.length === 0) return
      const { result } = await this.#parts.router().execute(
        { shard: SYSTEM, space: KEY },
        TXN,
        {
          compares: [
            {
              kind: 'number',
              key: KEY,
              field: 'modRevision',
              relation: '=',
              number: entry?.modRevision ?? 0
            }
          ],
          success: [{ kind: 'put', key: KEY, value: encodeCommittedLayout(next), lease: 0 }],
          failure: []
        },
        { timeoutMs: COMMIT_TIMEOUT_MS }
      )
      const { version } = next
      const count = next.members.length
      if (result.succeeded) log.info('layout.committed', { version, members: count })
    } catch (error) {
      if (!isMeshError(error)) throw error
      log.warn('layout.not_committed', { code: error.code, reason: error.message })
    } finally {
      this.#isCommitting = false
    }
  }
}

function versionBytes(version: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, version)
  return bytes
}
