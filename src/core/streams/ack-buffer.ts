// What is to be told to sources about their trees: updates of one tree become one.

/** For one source. */
export type Acks = {
  readonly roots: Float64Array
  /** Two for each root: high and low. */
  readonly xors: Uint32Array
  /** Roots of trees of which something failed. */
  readonly failed: Float64Array
}

type Update = { high: number; low: number }
type Updates = { xors: Map<number, Update>; failed: Set<number> }

export class AckBuffer {
  readonly #sources = new Map<number, Updates>()
  #count = 0

  /** Updates and failures in it. */
  get count(): number {
    return this.#count
  }

  add(source: number, root: number, high: number, low: number): void {
    const { xors } = this.#of(source)
    const known = xors.get(root)
    if (known === undefined) {
      xors.set(root, { high: high >>> 0, low: low >>> 0 })
      this.#count += 1
    } else {
      known.high = (known.high ^ high) >>> 0
      known.low = (known.low ^ low) >>> 0
    }
  }

  fail(source: number, root: number): void {
    const { failed } = this.#of(source)
    if (failed.has(root)) return
    failed.add(root)
    this.#count += 1
  }

  /** Takes over all that another has. */
  merge(other: AckBuffer): void {
    for (const [source, { xors, failed }] of other.#sources) {
      for (const [root, { high, low }] of xors) this.add(source, root, high, low)
      for (const root of failed) this.fail(source, root)
    }
    other.#sources.clear()
    other.#count = 0
  }

  /** Puts back what was taken. */
  put(source: number, { roots, xors, failed }: Acks): void {
    for (const [index, root] of roots.entries()) {
      this.add(source, root, xors[2 * index] ?? 0, xors[2 * index + 1] ?? 0)
    }
    for (const root of failed) this.fail(source, root)
  }

  /** Empties it. @returns what to tell each source */
  take(): [number, Acks][] {
    const all = [...this.#sources].map(([source, { xors, failed }]): [number, Acks] => {
      const columns = new Uint32Array(2 * xors.size)
      let index = 0
      for (const { high, low } of xors.values()) {
        columns[index++] = high
        columns[index++] = low
      }
      const roots = Float64Array.from(xors.keys())
      return [source, { roots, xors: columns, failed: Float64Array.from(failed) }]
    })
    this.#sources.clear()
    this.#count = 0
    return all
  }

  #of(source: number): Updates {
    const known = this.#sources.get(source)
    if (known !== undefined) return known
    const made = { xors: new Map<number, Update>(), failed: new Set<number>() }
    this.#sources.set(source, made)
    return made
  }
}
