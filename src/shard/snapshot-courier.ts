// Between a core that says "send a snapshot" and the stream that carries the state: the message goes
// out with a handle in it, the receiver fetches the pairs, and only then does its core see it.

import { toMeshError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { readMeta } from '../core/machine/records.ts'
import type { Message } from '../core/raft/messages.ts'
import type { Network } from '../net/network.ts'
import { decodeSnapshotHandle, encodeSnapshotHandle } from '../wire/shard-snapshot.ts'
import type { Replica } from './replica.ts'
import { decodeReplicaNote } from './replica-note.ts'
import { SnapshotPuller } from './snapshot-puller.ts'
import { SnapshotServer } from './snapshot-server.ts'
import type { SnapshotEnd } from './snapshot-server.ts'

/** Nobody asks for the next chunk: the message that told of it is lost, and another one is sent. */
const IDLE_MS = 15_000

export type SnapshotCourierParts = {
  readonly network: Network
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export type CourierHost = {
  send(replica: Replica, message: Message): void
  replica(group: number): Replica | undefined
}

type Fetching = { readonly snapshotId: string; readonly abort: AbortController }

export class SnapshotCourier {
  readonly #host: CourierHost
  readonly #log: Logger
  readonly #server: SnapshotServer
  readonly #puller: SnapshotPuller
  /** One for each group. */
  readonly #fetching = new Map<number, Fetching>()

  constructor(parts: SnapshotCourierParts, host: CourierHost) {
    this.#host = host
    this.#log = parts.log
    this.#server = new SnapshotServer(parts, {
      onEnd: (end) => this.#onServed(end),
      idleMs: IDLE_MS
    })
    this.#puller = new SnapshotPuller(parts)
  }

  stop(): void {
    for (const { abort } of this.#fetching.values()) abort.abort(new Error('The node is stopping'))
    this.#server.stop()
  }

  /** A replica has ended. */
  forget(group: number): void {
    this.#server.cancel(group)
    this.#fetching.get(group)?.abort.abort(new Error('The replica has ended'))
    this.#fetching.delete(group)
  }

  /** Sends a snapshot message of the core, with what is applied by now in place of what it says. */
  dispatch(replica: Replica, message: Message): void {
    void this.#offer(replica, message).catch((error: unknown) => {
      const reason = toMeshError(error).message
      this.#log.debug('snapshot.not_offered', { group: replica.group, reason })
      replica.reportSnapshot(message.to, false)
    })
  }

  /** A snapshot message has come: fetches the state, then hands both to the replica. */
  fetch(replica: Replica, peer: PeerId, message: Message): void {
    const { group } = replica
    void this.#fetch(replica, peer, message).catch((error: unknown) => {
      const reason = toMeshError(error).message
      this.#log.info('snapshot.fetch_failed', { group, peer, reason })
    })
  }

  async #offer(replica: Replica, message: Message): Promise<void> {
    const { group, generation } = replica
    const peer = replica.applied.peerOf(message.to)
    const { snapshot } = message
    if (peer === undefined || snapshot === undefined) return
    let at = { index: snapshot.index, term: snapshot.term }
    const open = async (): ReturnType<Replica['state']['snapshot']> => {
      const state = await replica.state.snapshot()
      at = readMeta(state)
      return state
    }
    const handle = await this.#server.offer({ peer, group, generation, open })
    const { configState } = decodeReplicaNote(handle.note)
    const { index, term } = at
    const data = encodeSnapshotHandle(handle)
    this.#host.send(replica, { ...message, snapshot: { index, term, configState, data } })
  }

  async #fetch(replica: Replica, peer: PeerId, message: Message): Promise<void> {
    const { group, generation } = replica
    const { snapshot } = message
    if (snapshot === undefined) return
    const { snapshotId, note } = decodeSnapshotHandle(snapshot.data)
    const before = this.#fetching.get(group)
    if (before?.snapshotId === snapshotId) return
    before?.abort.abort(new Error('Another snapshot is offered'))
    const abort = new AbortController()
    const fetching = { snapshotId, abort }
    this.#fetching.set(group, fetching)
    try {
      const decoded = decodeReplicaNote(note)
      const install = await replica.state.install()
      try {
        abort.signal.throwIfAborted()
        const pull = { peer, group, generation, snapshotId, install, signal: abort.signal }
        await this.#puller.pull(pull)
      } catch (error) {
        await install.abort()
        throw error
      }
      replica.offerSnapshot(message, install, decoded)
    } finally {
      if (this.#fetching.get(group) === fetching) this.#fetching.delete(group)
    }
  }

  #onServed({ peer, group, generation, error }: SnapshotEnd): void {
    const replica = this.#host.replica(group)
    if (replica?.generation !== generation) return
    for (const member of replica.applied.roster.members) {
      if (member.peer === peer) replica.reportSnapshot(member.replica, error === undefined)
    }
  }
}
