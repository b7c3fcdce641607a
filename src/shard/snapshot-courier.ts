// Between a core that says "send a snapshot" and the stream that carries the state: the message goes
// out with a handle in it, the receiver fetches the pairs, and only then does its core see it.

import { toMeshError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { readMeta } from '../core/machine/records.ts'
import { NO_BYTES, type Message } from '../core/raft/messages.ts'
import type { Network } from '../net/network.ts'
import { decodeSnapshotHandle, encodeSnapshotHandle } from '../wire/shard-snapshot.ts'
import type { SnapshotHandle } from '../wire/shard-snapshot.ts'
import type { Replica } from './replica.ts'
import { decodeReplicaNote } from './replica-note.ts'
import { SnapshotPuller } from './snapshot-puller.ts'
import { SnapshotServer } from './snapshot-server.ts'
import type { SnapshotEnd } from './snapshot-server.ts'

/** Nobody asks for the next chunk any more: another snapshot is sent. */
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

type Fetching = {
  readonly snapshotId: string
  readonly abort: AbortController
  /** Resolves when nothing of it is left. */
  readonly ended: Promise<void>
}

type Source = {
  readonly peer: PeerId
  readonly handle: SnapshotHandle
  readonly signal: AbortSignal
}

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
  }

  /** Sends a snapshot message of the core, with what is applied by now in place of what it says. */
  dispatch(replica: Replica, message: Message): void {
    void this.#offer(replica, message).catch((error: unknown) => {
      const reason = toMeshError(error).message
      this.#log.debug('snapshot.not_offered', { group: replica.group, reason })
      replica.run((raft) => raft.reportSnapshot(message.to, false))
    })
  }

  /** A snapshot message has come: fetches the state, then hands both to the replica. */
  fetch(replica: Replica, peer: PeerId, message: Message): void {
    const { group } = replica
    const failed = (error: unknown): void => {
      const reason = toMeshError(error).message
      this.#log.info('snapshot.fetch_failed', { group, peer, reason })
    }
    try {
      const handle = decodeSnapshotHandle(message.snapshot?.data ?? NO_BYTES)
      const { snapshotId } = handle
      const before = this.#fetching.get(group)
      if (before?.snapshotId === snapshotId && !before.abort.signal.aborted) return
      before?.abort.abort(new Error('Another snapshot is offered'))
      const abort = new AbortController()
      const source = { peer, handle, signal: abort.signal }
      // A group has one install at a time.
      const work = (before?.ended ?? Promise.resolve()).then(
        async () => await this.#fetch(replica, message, source)
      )
      const fetching = { snapshotId, abort, ended: work.catch(failed) }
      this.#fetching.set(group, fetching)
      void fetching.ended.then(() => {
        if (this.#fetching.get(group) === fetching) this.#fetching.delete(group)
      })
    } catch (error) {
      failed(error)
    }
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
    const handle = await this.#server.offer({
      peer,
      group,
      generation,
      open,
      onUnasked: () => send()
    })
    const { configState } = decodeReplicaNote(handle.note)
    const { index, term } = at
    const data = encodeSnapshotHandle(handle)
    const send = (): void => {
      this.#host.send(replica, { ...message, snapshot: { index, term, configState, data } })
    }
    send()
  }

  /** @throws what the transfer failed with */
  async #fetch(replica: Replica, message: Message, source: Source): Promise<void> {
    const { group, generation } = replica
    const { peer, handle, signal } = source
    signal.throwIfAborted()
    const note = decodeReplicaNote(handle.note)
    await replica.whenChecked()
    signal.throwIfAborted()
    const install = await replica.state.install()
    try {
      const { snapshotId } = handle
      await this.#puller.pull({ peer, group, generation, snapshotId, install, signal })
    } catch (error) {
      await install.abort()
      throw error
    }
    this.#log.debug('snapshot.received', { group, peer })
    replica.offerSnapshot(message, install, note)
  }

  #onServed({ peer, group, generation, error }: SnapshotEnd): void {
    const replica = this.#host.replica(group)
    if (replica?.generation !== generation) return
    for (const member of replica.applied.roster.members) {
      if (member.peer !== peer) continue
      replica.run((raft) => raft.reportSnapshot(member.replica, error === undefined))
    }
  }
}
