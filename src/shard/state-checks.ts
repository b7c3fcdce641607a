// Has the states of all replicas read once after a start, one after the other. Until a state is known
// to be right its replica votes and takes entries, but neither serves nor leads. So the time until a
// group is served again doesn't grow with all that a node has: of each group another of its voters
// begins with it.

import { isMeshError, toMeshError } from '../base/errors.ts'
import { NO_REPLICA } from '../core/raft/messages.ts'
import type { StateStore } from '../storage/state-store.ts'
import type { Replica } from './replica.ts'
import { turnOf } from './turns.ts'

export class StateChecks {
  readonly #store: StateStore
  readonly #onChecked: (replica: Replica) => void
  #waiting: Replica[] = []
  #isStarted = false
  #isRunning = false

  /** @param onChecked its state is right */
  constructor(store: StateStore, onChecked: (replica: Replica) => void) {
    this.#store = store
    this.#onChecked = onChecked
  }

  /** All replicas that were stored are there. */
  start(): void {
    this.#isStarted = true
    this.#wake()
  }

  add(replica: Replica): void {
    if (replica.isChecked) return
    this.#waiting.push(replica)
    this.#waiting.sort((a, b) => turnOf(a) - turnOf(b))
    this.#wake()
  }

  #wake(): void {
    if (this.#isRunning || !this.#isStarted) return
    this.#isRunning = true
    void this.#run().finally(() => {
      this.#isRunning = false
      if (this.#waiting.length > 0) this.#wake()
    })
  }

  async #run(): Promise<void> {
    for (let replica = this.#next(); replica !== undefined; replica = this.#next()) {
      if (!replica.hasEnded) await this.#check(replica)
    }
    try {
      // What is nobody's any more, so that all that the disk has was looked at.
      for (const group of this.#store.groups()) await this.#store.check(group, () => false)
    } catch (error) {
      // Else at the next start.
      if (!isMeshError(error)) throw error
    }
  }

  /** By turns, those first that nobody leads. */
  #next(): Replica | undefined {
    const [first] = this.#waiting
    const next = this.#waiting.find(({ leader }) => leader === NO_REPLICA) ?? first
    this.#waiting = this.#waiting.filter((replica) => replica !== next)
    return next
  }

  async #check(replica: Replica): Promise<void> {
    const { group } = replica
    try {
      // The others can do without this one, when the first of them leads.
      const isUrgent = (): boolean => replica.leader === NO_REPLICA
      await this.#store.check(group, isUrgent)
      const damage = this.#store.damageOf(group)
      if (damage !== undefined) throw damage
      replica.checked()
      if (!replica.hasEnded) this.#onChecked(replica)
    } catch (error) {
      if (!isMeshError(error, 'stopped')) replica.fail(toMeshError(error))
    }
  }
}
