// Replicas are made and ended one at a time for a group.

export class GroupTurns {
  readonly #busy = new Set<number>()

  /** Does nothing when something is done for the group already: what is left to do comes again. */
  async run(group: number, task: () => Promise<void>): Promise<void> {
    if (this.#busy.has(group)) return
    this.#busy.add(group)
    try {
      await task()
    } finally {
      this.#busy.delete(group)
    }
  }
}
