// A bounded number of things at once, in the order they asked.

/** Permits are taken with `acquire` and given back by calling what it resolved to, once. */
export class Semaphore {
  #free: number
  readonly #waiting: (() => void)[] = []

  /** @param permits how many may be held at once, ≥ 1. */
  constructor(permits: number) {
    this.#free = permits
  }

  /** Takes a permit when one is free. @returns undefined when none is. */
  tryAcquire(): (() => void) | undefined {
    if (this.#free === 0) return undefined
    this.#free -= 1
    return this.#releaser()
  }

  /** Waits for a permit. Rejects with `signal.reason` when aborted first. */
  async acquire(options: { signal?: AbortSignal | undefined } = {}): Promise<() => void> {
    const { signal } = options
    signal?.throwIfAborted()
    const now = this.tryAcquire()
    if (now !== undefined) return now
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(grant), 1)
        reject(signal?.reason as Error)
      }
      const grant = (): void => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      this.#waiting.push(grant)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
    return this.#releaser()
  }

  /** Runs `work` while holding a permit. */
  async run<T>(
    work: () => Promise<T>,
    options: { signal?: AbortSignal | undefined } = {}
  ): Promise<T> {
    const release = await this.acquire(options)
    try {
      return await work()
    } finally {
      release()
    }
  }

  #releaser(): () => void {
    let held = true
    return () => {
      if (!held) return
      held = false
      const next = this.#waiting.shift()
      if (next === undefined) this.#free += 1
      else next()
    }
  }
}
