// Numbers tuples of members, densely and in order of first sight: an open-addressing table over typed
// arrays, without an object per tuple.

export function grown(array: Int32Array, length: number): Int32Array {
  const larger = new Int32Array(length)
  larger.set(array)
  return larger
}

export class TupleTable {
  /** Members of a tuple; may be 0, and then there is one tuple. */
  readonly size: number
  /** What {@link number} looks up: `size` members, ascending. The caller fills it in. */
  readonly key: Uint16Array
  #members: Uint16Array
  /** Tuple number + 1, or 0 for an empty place; the length is a power of two. */
  #places: Int32Array
  #count = 0

  constructor(size: number, expected: number) {
    this.size = size
    this.key = new Uint16Array(size)
    this.#members = new Uint16Array(expected * size)
    let places = 16
    while (places < expected * 2) places *= 2
    this.#places = new Int32Array(places)
  }

  /** Tuples numbered so far: they are 0 … `count - 1`. */
  get count(): number {
    return this.#count
  }

  /** @returns a member by its rank in [0, size), ascending. */
  member(tuple: number, rank: number): number {
    return this.#members[tuple * this.size + rank] as number
  }

  has(tuple: number, member: number): boolean {
    const from = tuple * this.size
    for (let index = from; index < from + this.size; index++) {
      if (this.#members[index] === member) return true
    }
    return false
  }

  /** @returns the number of the tuple in `key`: the next one when it is new. */
  number(): number {
    const mask = this.#places.length - 1
    let place = this.#hash(this.key, 0) & mask
    for (;;) {
      const found = (this.#places[place] as number) - 1
      if (found < 0) break
      if (this.#equalsKey(found)) return found
      place = (place + 1) & mask
    }
    const tuple = this.#count++
    if (this.#count * this.size > this.#members.length) {
      const members = new Uint16Array((this.#members.length + this.size) * 2)
      members.set(this.#members)
      this.#members = members
    }
    this.#members.set(this.key, tuple * this.size)
    this.#places[place] = tuple + 1
    if (this.#count * 2 > this.#places.length) this.#growPlaces()
    return tuple
  }

  #equalsKey(tuple: number): boolean {
    const from = tuple * this.size
    for (let rank = 0; rank < this.size; rank++) {
      if (this.#members[from + rank] !== this.key[rank]) return false
    }
    return true
  }

  #hash(members: Uint16Array, from: number): number {
    let hash = 0x811c9dc5
    for (let index = from; index < from + this.size; index++) {
      hash = Math.imul(hash ^ (members[index] as number), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    return hash >>> 0
  }

  #growPlaces(): void {
    const mask = this.#places.length * 2 - 1
    this.#places = new Int32Array(mask + 1)
    for (let tuple = 0; tuple < this.#count; tuple++) {
      let place = this.#hash(this.#members, tuple * this.size) & mask
      while (this.#places[place] !== 0) place = (place + 1) & mask
      this.#places[place] = tuple + 1
    }
  }
}
