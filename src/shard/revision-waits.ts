// Who waits for the state to change.

export class RevisionWaits {
  #listeners: (() => void)[] = []

  /** Calls back once. @returns how to end that */
  add(listener: () => void): () => void {
    this.#listeners.push(listener)
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener)
    }
  }

  notify(): void {
    const listeners = this.#listeners
    this.#listeners = []
    for (const listener of listeners) listener()
  }
}
