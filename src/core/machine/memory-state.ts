// The ordered store in memory: the reference for others, and what tests and simulations use. A tree
// whose nodes are copied when they are shared, so that a snapshot costs nothing and keeps what it
// was taken of.

import { compareBytes } from './ordered-state.ts'
import type { KeyRange, OrderedState, Pair } from './ordered-state.ts'

/** Entries of a node, at most. */
const NODE_COUNT_MAX = 64

/**
 * What whoever keeps pairs over a store knows of a key there: that it has none, or the checksum that it
 * has. undefined: nothing.
 */
export type Below = 'none' | number | undefined
/** A pair, and what was known of its key when it was first put: what took its place since keeps that. */
export type Kept = Pair & { readonly below: Below }

/** Who may change a node in place: the tree that made it, until its next snapshot. */
type Owner = object
type Leaf = { readonly owner: Owner; readonly isLeaf: true; readonly pairs: Kept[] }
/** `lows[i]` is at or below every key of `children[i]` and above those of the child before. */
type Inner = {
  readonly owner: Owner
  readonly isLeaf: false
  readonly children: Node[]
  readonly lows: Uint8Array[]
}
type Node = Leaf | Inner
type Split = { readonly node: Node; readonly low: Uint8Array }

/** A sorted map from bytes to bytes. */
export class MemoryState implements OrderedState {
  readonly #isLasting: boolean
  /** What the insert that is under way took the place of. */
  #replaced: Uint8Array | undefined
  #owner: Owner = {}
  #root: Node = { owner: this.#owner, isLeaf: true, pairs: [] }

  /** @param options.isLasting whether it keeps things for long; on unless said otherwise */
  constructor({ isLasting = true }: { readonly isLasting?: boolean } = {}) {
    this.#isLasting = isLasting
  }

  get(key: Uint8Array): Uint8Array | undefined {
    let node = this.#root
    while (!node.isLeaf) node = node.children[childIndex(node, key)] as Node
    const index = pairIndex(node.pairs, key)
    const pair = node.pairs[index]
    return pair !== undefined && compareBytes(pair.key, key) === 0 ? pair.value : undefined
  }

  /** What lasts keeps copies of parts of larger arrays, so that it doesn't keep those. */
  put(key: Uint8Array, value: Uint8Array): void {
    this.replace(key, value)
  }

  insert(key: Uint8Array, value: Uint8Array): void {
    this.replace(key, value, 'none')
  }

  /** As `put` or `insert`. @returns what `get` gave before. */
  replace(ownKey: Uint8Array, ownValue: Uint8Array, below?: Below): Uint8Array | undefined {
    const key = this.#isLasting ? whole(ownKey) : ownKey
    const value = this.#isLasting ? whole(ownValue) : ownValue
    this.#root = this.#own(this.#root)
    this.#replaced = undefined
    const split = this.#insert(this.#root, { key, value, below })
    if (split !== undefined) {
      const lows = [new Uint8Array(0), split.low]
      this.#root = { owner: this.#owner, isLeaf: false, children: [this.#root, split.node], lows }
    }
    const before = this.#replaced
    this.#replaced = undefined
    return before
  }

  delete(key: Uint8Array): void {
    if (this.get(key) === undefined) return
    this.#root = this.#own(this.#root)
    this.#remove(this.#root, key)
    while (!this.#root.isLeaf && this.#root.children.length <= 1) {
      this.#root = this.#root.children[0] ?? { owner: this.#owner, isLeaf: true, pairs: [] }
    }
  }

  *range({ from, to, limit, reverse }: KeyRange): Generator<Kept> {
    let left = limit ?? Infinity
    const pairs = reverse === true ? downFrom(this.#root, to) : upFrom(this.#root, from)
    for (const pair of pairs) {
      if (left <= 0) return
      if (reverse === true) {
        if (from !== undefined && compareBytes(pair.key, from) < 0) return
      } else if (to !== undefined && compareBytes(pair.key, to) >= 0) return
      left -= 1
      yield pair
    }
  }

  /** @returns a state of its own with what is here now, at no cost; either may change. */
  snapshot(): MemoryState {
    const copy = new MemoryState({ isLasting: this.#isLasting })
    copy.#root = this.#root
    this.#owner = {}
    return copy
  }

  /** @returns the node itself when nobody else has it, else a copy to put in its place. */
  #own(node: Node): Node {
    if (node.owner === this.#owner) return node
    if (node.isLeaf) return { owner: this.#owner, isLeaf: true, pairs: [...node.pairs] }
    const { children, lows } = node
    return { owner: this.#owner, isLeaf: false, children: [...children], lows: [...lows] }
  }

  /** @returns what split off after the node, to be put beside it. */
  #insert(node: Node, pair: Kept): Split | undefined {
    if (node.isLeaf) {
      const index = pairIndex(node.pairs, pair.key)
      const there = node.pairs[index]
      if (there !== undefined && compareBytes(there.key, pair.key) === 0) {
        this.#replaced = there.value
        const { below } = there
        node.pairs[index] = below === pair.below ? pair : { ...pair, below }
        return undefined
      }
      node.pairs.splice(index, 0, pair)
      if (node.pairs.length <= NODE_COUNT_MAX) return undefined
      // Keys that only grow, as revisions do, leave full leaves behind.
      const at = index === node.pairs.length - 1 ? NODE_COUNT_MAX : NODE_COUNT_MAX / 2
      const pairs = node.pairs.splice(at)
      const low = (pairs[0] as Kept).key
      return { node: { owner: this.#owner, isLeaf: true, pairs }, low }
    }
    const index = childIndex(node, pair.key)
    const child = this.#own(node.children[index] as Node)
    node.children[index] = child
    const split = this.#insert(child, pair)
    if (split === undefined) return undefined
    node.children.splice(index + 1, 0, split.node)
    node.lows.splice(index + 1, 0, split.low)
    if (node.children.length <= NODE_COUNT_MAX) return undefined
    const children = node.children.splice(NODE_COUNT_MAX / 2)
    const lows = node.lows.splice(NODE_COUNT_MAX / 2)
    const low = lows[0] as Uint8Array
    return { node: { owner: this.#owner, isLeaf: false, children, lows }, low }
  }

  /** Nodes that got empty go; thin ones stay, which costs a little space and no time. */
  #remove(node: Node, key: Uint8Array): void {
    if (node.isLeaf) {
      node.pairs.splice(pairIndex(node.pairs, key), 1)
      return
    }
    const index = childIndex(node, key)
    const child = this.#own(node.children[index] as Node)
    node.children[index] = child
    this.#remove(child, key)
    if ((child.isLeaf ? child.pairs : child.children).length > 0) return
    node.children.splice(index, 1)
    node.lows.splice(index, 1)
  }
}

/** Up to so many bytes an array has no buffer of its own until somebody asks for it. */
const INLINE_BYTES = 64

/** One that is whole already stays itself: an empty one may stand for something by its identity. */
function whole(bytes: Uint8Array): Uint8Array {
  if (bytes.length > 0 && bytes.length <= INLINE_BYTES) return bytes.slice()
  return bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice()
}

/** @returns the child that has the key, if any has. */
function childIndex({ lows }: Inner, key: Uint8Array): number {
  let low = 1
  let high = lows.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(lows[middle] as Uint8Array, key) <= 0) low = middle + 1
    else high = middle
  }
  return low - 1
}

/** @returns where the key is or belongs. */
function pairIndex(pairs: readonly Pair[], key: Uint8Array): number {
  let low = 0
  let high = pairs.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes((pairs[middle] as Pair).key, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** @returns pairs upward from the first key at or after `from`. */
function* upFrom(node: Node, from: Uint8Array | undefined): Generator<Kept> {
  if (node.isLeaf) {
    const { pairs } = node
    const first = from === undefined ? 0 : pairIndex(pairs, from)
    for (let index = first; index < pairs.length; index++) yield pairs[index] as Kept
    return
  }
  const first = from === undefined ? 0 : childIndex(node, from)
  for (let index = first; index < node.children.length; index++) {
    yield* upFrom(node.children[index] as Node, index === first ? from : undefined)
  }
}

/** @returns pairs downward from the last key before `to`. */
function* downFrom(node: Node, to: Uint8Array | undefined): Generator<Kept> {
  if (node.isLeaf) {
    const { pairs } = node
    const end = to === undefined ? pairs.length : pairIndex(pairs, to)
    for (let index = end - 1; index >= 0; index--) yield pairs[index] as Kept
    return
  }
  const last = to === undefined ? node.children.length - 1 : childIndex(node, to)
  for (let index = last; index >= 0; index--) {
    yield* downFrom(node.children[index] as Node, index === last ? to : undefined)
  }
}
