// Replicas are made and ended one at a time for a group.

export class GroupTurns {
  readonly #busy = new Set<number>()

  /** Does nothing when something is done for the group already: what is left to do comes again. */
  async run<T>(group: number, task: () => Promise<T>): Promise<T | undefined> {
    if (this.#busy.has(group)) return undefined
    this.#busy.add(group)
    try {
      return await task()
    } finally {
      this.#busy.delete(group)
    }
  }
}
