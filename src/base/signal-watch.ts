// One listener for all who wait for a signal. A signal looks at all of its listeners for each one that
// comes or goes, which takes long when thousands of short tasks share one.

type Watched<Item> = { readonly items: Set<Item>; readonly onAbort: () => void }

export class SignalWatch<Item> {
  readonly #onAbort: (item: Item) => void
  readonly #watched = new Map<AbortSignal, Watched<Item>>()

  /** @param onAbort called for each item of a signal that is aborted, in the order in which they came */
  constructor(onAbort: (item: Item) => void) {
    this.#onAbort = onAbort
  }

  /** @param signal not aborted yet */
  add(signal: AbortSignal, item: Item): void {
    const watched = this.#watched.get(signal) ?? this.#watch(signal)
    watched.items.add(item)
  }

  /** The item isn't called for any more. */
  delete(signal: AbortSignal, item: Item): void {
    const watched = this.#watched.get(signal)
    if (watched?.items.delete(item) !== true || watched.items.size > 0) return
    this.#watched.delete(signal)
    signal.removeEventListener('abort', watched.onAbort)
  }

  #watch(signal: AbortSignal): Watched<Item> {
    const items = new Set<Item>()
    const onAbort = (): void => {
      for (const item of items) this.#onAbort(item)
      this.#watched.delete(signal)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    const watched = { items, onAbort }
    this.#watched.set(signal, watched)
    return watched
  }
}
