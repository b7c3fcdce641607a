// Tasks on one key run one after another, in the order they came; other keys aren't held up.

export class Turns<Key> {
  /** Per key, the end of its last task. Never rejects. */
  readonly #ends = new Map<Key, Promise<void>>()

  /**
   * Runs `task` when every earlier task of this key has settled; at once when there is none.
   * @returns what the task returns; a failed task doesn't stop the next.
   */
  run<T>(key: Key, task: () => Promise<T>): Promise<T> {
    const before = this.#ends.get(key)
    const result = before === undefined ? task() : before.then(task)
    const settle = (): void => {
      if (this.#ends.get(key) === end) this.#ends.delete(key)
    }
    const end: Promise<void> = result.then(settle, settle)
    this.#ends.set(key, end)
    return result
  }
}
