// What a replica does while it leads: commands get the leader's time and go into the log, and leases
// end when they are due.

import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { encode } from '../core/machine/codec.ts'
import { encodeCommand } from '../core/machine/command.ts'
import type { Answer, Request } from '../core/machine/command.ts'
import { LeaderClock } from '../core/machine/machine-time.ts'
import type { Outcome } from '../core/machine/outcome.ts'
import { capability } from '../core/machine/operation.ts'
import { TICK } from '../core/machine/own-operations.ts'
import { NO_BYTES, NO_REPLICA } from '../core/raft/messages.ts'
import type { Entry, ReplicaId } from '../core/raft/messages.ts'
import type { Raft } from '../core/raft/raft.ts'
import type { AppliedState } from './applied-state.ts'
import { Proposals } from './proposals.ts'

export type LeadershipParts = {
  readonly raft: Raft
  readonly applied: AppliedState
  readonly clock: Clock
}

export class Leadership {
  readonly #parts: LeadershipParts
  readonly #proposals = new Proposals()
  /** Runs from the first entry of the own term on. */
  #clock: LeaderClock | undefined

  constructor(parts: LeadershipParts) {
    this.#parts = parts
  }

  /** All that leaders before committed is applied: what is stamped now is later than that. */
  get hasBegun(): boolean {
    return this.#isLeader && this.#clock !== undefined
  }

  /** Another one leads, or nobody: what was proposed may be done or not. */
  end(error?: MeshError): void {
    this.#clock = undefined
    this.#proposals.lost(error)
  }

  /**
   * Puts a command into the log with the next `flush`; resolves when it is applied here.
   *
   * @throws not-leader, overloaded; version-mismatch for what isn't known here
   */
  async execute(request: Request): Promise<Answer> {
    const { applied, clock } = this.#parts
    if (!this.#isLeader || this.#clock === undefined) throw this.notLeader()
    const name = capability({ name: request.operation, version: request.version })
    if (!applied.machine.canApply(name)) {
      const problem = `this program doesn't know ${name}; bring it up to date`
      throw new MeshError('version-mismatch', `Cannot do that: ${problem}`)
    }
    const stampMs = this.#clock.stampMs(clock.monotonicMs())
    return await this.#proposals.queue(encodeCommand({ ...request, stampMs }))
  }

  /** @returns where the leader lives, as far as is known here. */
  leaderPeer(): PeerId | undefined {
    const { raft, applied } = this.#parts
    const { leader } = raft.state
    return leader === NO_REPLICA ? undefined : applied.peerOf(leader)
  }

  /** What is told to those who ask for what only a leader does. */
  notLeader(): MeshError {
    const peer = this.#isLeader ? undefined : this.leaderPeer()
    const who = peer === undefined ? 'nobody known here' : peer
    return new MeshError('not-leader', `This replica doesn't lead its shard; ${who} does`, {
      details: peer === undefined ? {} : { leader: peer }
    })
  }

  flush(): void {
    this.#proposals.flush((data) => this.#propose(data))
  }

  /** @returns the voter that has most of those that answer; undefined unless this replica leads */
  successor(): ReplicaId | undefined {
    if (!this.#isLeader) return undefined
    const { id: self, members } = this.#parts.raft.state
    let best: { id: ReplicaId; match: number } | undefined
    for (const [id, { match, isActive, isLearner }] of members.progress) {
      if (id === self || isLearner || !isActive) continue
      if (best === undefined || match > best.match) best = { id, match }
    }
    return best?.id
  }

  /** @returns whether the first entry of this replica's own term was among these */
  applied(entries: readonly Entry[], outcomes: readonly Outcome[]): boolean {
    const { raft } = this.#parts
    const hadBegun = this.hasBegun
    for (const [place, outcome] of outcomes.entries()) {
      const { term } = entries[place] as Entry
      if (outcome.kind === 'applied') this.#proposals.applied(outcome.index, term, outcome.answer)
      const isOwn = this.#isLeader && term === raft.state.term
      if (isOwn && outcome.kind !== 'halted') this.#begin()
    }
    return this.hasBegun && !hadBegun
  }

  /** Leases end by entries: without other commands the leader proposes a tick. */
  tick(): void {
    if (!this.#isLeader || this.#clock === undefined) return
    const { raft, applied, clock } = this.#parts
    const stampMs = this.#clock.stampMs(clock.monotonicMs())
    const { dueMs } = applied
    if (dueMs === undefined || dueMs > stampMs || this.#proposals.hasQueued()) return
    const { name: operation, version, args } = TICK
    const names = { client: 0, sequence: 0, answeredBelow: 0, space: NO_BYTES }
    const request = { ...names, operation, version, args: encode(args, undefined) }
    raft.propose([encodeCommand({ ...request, stampMs }).slice()])
  }

  #begin(): void {
    const { applied, clock } = this.#parts
    const nowMs = clock.monotonicMs()
    this.#clock ??= new LeaderClock({ machineTimeMs: applied.machine.timeMs, nowMs })
  }

  get #isLeader(): boolean {
    return this.#parts.raft.state.role === 'leader'
  }

  #propose(data: readonly Uint8Array[]): { first: number; term: number } | MeshError {
    const { raft } = this.#parts
    const { log, term } = raft.state
    const first = log.lastIndex + 1
    const refused = raft.propose(data)
    if (refused === undefined) return { first, term }
    if (!this.#isLeader) return this.notLeader()
    return new MeshError('overloaded', `The shard takes no command now: ${refused.problem}`)
  }
}
