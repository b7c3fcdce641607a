// Cuts the logs of groups that grew long: entries that are applied, and safely in the store, are of
// use to slow members only.

import { errorMessage } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { ShardHost } from './host.ts'
import { RAFT_TICK_MS } from './raft-core.ts'
import type { Replica } from './replica.ts'

const PERIOD_TICKS: number = 1_000 / RAFT_TICK_MS
export type Trimming = {
  /** A log is cut when it has so many entries more than it keeps. */
  readonly slack: number
  /** Entries that stay for members that are a little behind. */
  readonly kept: number
  /** And at most, for members that answer and are far behind: then a snapshot is cheaper. */
  readonly keptMax: number
}

const TRIMMING: Trimming = { slack: 4_096, kept: 2_048, keptMax: 32_768 }

export type LogTrimmerParts = {
  readonly log: Logger
  readonly host: ShardHost
}

export class LogTrimmer {
  readonly #parts: LogTrimmerParts
  readonly #trimming: Trimming
  readonly #busy = new Set<number>()
  #ticks = 0

  constructor(parts: LogTrimmerParts, trimming: Trimming = TRIMMING) {
    this.#parts = parts
    this.#trimming = trimming
  }

  /** A tick of the replicas has passed. */
  tick(): void {
    this.#ticks += 1
    if (this.#ticks % PERIOD_TICKS !== 0) return
    for (const replica of this.#parts.host.replicas()) this.#look(replica)
  }

  #look(replica: Replica): void {
    const { group } = replica
    const { slack, kept, keptMax } = this.#trimming
    const applied = replica.applied.index
    const first = replica.log.firstIndex()
    if (applied - first < kept + slack || this.#busy.has(group)) return
    const to = Math.min(applied - kept, Math.max(slowest(replica), applied - keptMax))
    if (to - first < slack) return
    this.#busy.add(group)
    void this.#trim(replica, to).finally(() => this.#busy.delete(group))
  }

  async #trim(replica: Replica, index: number): Promise<void> {
    try {
      await replica.state.flushed()
      if (!replica.hasEnded) await truncated(replica, index)
    } catch (error) {
      const { log } = this.#parts
      log.debug('shard.not_trimmed', { group: replica.group, reason: errorMessage(error) })
    }
  }
}

async function truncated(replica: Replica, index: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    replica.truncate(index, (error) => {
      if (error === undefined) resolve()
      else reject(error)
    })
  })
}

/** @returns up to where every member has the log that answers; only a leader knows. */
function slowest({ isLeader, raft, id }: Replica): number {
  if (!isLeader) return Number.POSITIVE_INFINITY
  const { progress } = raft.state.members
  const matches = [...progress].map(([member, { match, isActive }]) => {
    return member === id || !isActive ? Number.POSITIVE_INFINITY : match
  })
  return Math.min(...matches)
}
