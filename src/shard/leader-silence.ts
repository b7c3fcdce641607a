// How long a replica has heard nothing of a leader.

import type { MessageType } from '../core/raft/messages.ts'

/** What only a leader says. */
export const LEADERS: ReadonlySet<MessageType> = new Set(['append', 'heartbeat', 'snapshot'])
/** A replica that hears none asks so often, in ticks, whether it is still a member. */
const SILENT_TICKS = 8

export class LeaderSilence {
  #ticks = 0

  get isLong(): boolean {
    return this.#ticks >= SILENT_TICKS
  }

  end(): void {
    this.#ticks = 0
  }

  /** @returns whether it is time to ask */
  tick(): boolean {
    this.#ticks += 1
    return this.#ticks % SILENT_TICKS === 0
  }
}
