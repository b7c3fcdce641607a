// Calls that are under way at one time, and taken one after the other: in the order in which they
// began, or in which they end. No more of them than are of use, for each takes memory that is looked
// through again and again.

/** So many at first, and at most, unless the caller says it. */
const COUNT = { first: 128, most: 512 }

export class UnderWay<Value> {
  readonly #isOrdered: boolean
  readonly #place: { isCrowded(): boolean }
  readonly #countMax: number
  /** To be taken next: all of them in order, or else those that have ended. */
  readonly #next: Promise<Value>[] = []
  #count = 0
  #bound: number
  #wake = (): void => {}

  /** @param place where they run; while calls wait there to begin it is of no use to add some */
  constructor(
    place: { isCrowded(): boolean },
    options: { isOrdered: boolean; countMax: number | undefined }
  ) {
    this.#place = place
    this.#isOrdered = options.isOrdered
    this.#countMax = options.countMax ?? COUNT.most
    this.#bound = options.countMax ?? COUNT.first
  }

  /** Whether one is to be taken before another one is added. */
  get isFull(): boolean {
    if (this.#count < this.#bound) return false
    if (this.#bound >= this.#countMax || this.#place.isCrowded()) return true
    this.#bound = Math.min(this.#countMax, 2 * this.#bound)
    return false
  }

  /** Those that weren't taken. */
  get count(): number {
    return this.#count
  }

  add(call: Promise<Value>): void {
    this.#count += 1
    if (this.#isOrdered) this.#next.push(call)
    const end = (): void => {
      if (this.#isOrdered) return
      this.#next.push(call)
      this.#wake()
    }
    // Whoever takes it later hears of a failure then.
    call.then(end, end)
  }

  /** Only while there is one. @throws what the call failed with */
  async take(): Promise<Value> {
    while (this.#next.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve))
    this.#count -= 1
    return await (this.#next.shift() as Promise<Value>)
  }
}
