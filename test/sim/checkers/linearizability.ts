// Whether there is an order of operations, each between its call and its return, in which a model
// gives every one the output that its client got. (Wing and Gong, "Testing and Verifying Concurrent
// Objects", 1993; Lowe, "Testing for Linearizability", 2017: done sets and states are tried once;
// Horn and Kroening, "Faster linearizability checking via P-compositionality", 2015: key by key.)

import type { Operation } from './history.ts'

/** What is right, as a sequential machine. States are values: `step` changes none. */
export type Model<State, Input, Output> = {
  readonly initial: State
  /**
   * @param output undefined when nobody knows: then what the operation does if it is done
   * @returns the next state; undefined when the operation can't have this output here, which is
   *   never so for an unknown one
   */
  step(state: State, input: Input, output: Output | undefined): State | undefined
  /** @returns the same text for equal states, and for no others; people read it too. */
  identity(state: State): string
  /** @returns an operation in words. */
  describe(input: Input, output: Output | undefined): string
}

export type Verdict =
  | { readonly kind: 'linearizable' }
  /** `text` tells a person where it breaks. */
  | { readonly kind: 'violation'; readonly key: string; readonly text: string }
  /** Neither was found within the bound on steps. */
  | { readonly kind: 'undecided'; readonly key: string; readonly text: string }

/** More of one key take too long when something is wrong; use more keys. */
const OPERATIONS_PER_KEY_MAX = 2_000
const STEPS_MAX = 5_000_000

/** @returns the first key's verdict that isn't good, or that all are. */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  stepsMax: number = STEPS_MAX
): Verdict {
  for (const [key, ofKey] of Map.groupBy(operations, (operation) => operation.key)) {
    if (ofKey.length > OPERATIONS_PER_KEY_MAX) {
      const bound = `at most ${OPERATIONS_PER_KEY_MAX} can be checked`
      throw new Error(`Key "${key}" has ${ofKey.length} operations; ${bound}: use more keys`)
    }
    const verdict = new Search(model, ofKey, stepsMax).run()
    if (verdict.kind !== 'linearizable') return verdict
  }
  return { kind: 'linearizable' }
}

/** A call or a return of an operation whose output is known, in a list of what isn't done yet. */
type Node = {
  /** The place of its operation among the known ones. */
  readonly index: number
  readonly isReturn: boolean
  readonly place: number
  /** Of a call: its return. */
  match: Node | undefined
  previous: Node | undefined
  next: Node | undefined
}

/** One operation that was put in order: a known one by its node, or an unknown one by its place. */
type Taken<State> = {
  readonly node: Node | undefined
  readonly unknown: number
  readonly before: State
  readonly lowBefore: number
}

type Obstacle = { readonly node: Node; readonly order: readonly string[]; readonly state: string }

class Search<State, Input, Output> {
  readonly #model: Model<State, Input, Output>
  readonly #known: readonly Operation<Input, Output>[]
  /** In the order of their calls. Each may be done after its call, or never. */
  readonly #unknown: readonly Operation<Input, Output>[]
  readonly #unknownNames: readonly string[]
  readonly #stepsMax: number
  readonly #head: Node = {
    index: -1,
    isReturn: false,
    place: -1,
    match: undefined,
    previous: undefined,
    next: undefined
  }
  readonly #isDone: Uint8Array
  /** A bit for each unknown operation. */
  #unknownDone = 0n
  /** By known operations done and state: with which unknown ones it was tried. */
  readonly #seen = new Map<string, bigint[]>()
  readonly #taken: Taken<State>[] = []
  #state: State
  /** All known operations before it are done. */
  #low = 0
  #left: number
  #steps = 0
  /** The farthest return that was in the way, and the order that came that far. */
  #obstacle: Obstacle | undefined

  constructor(
    model: Model<State, Input, Output>,
    operations: readonly Operation<Input, Output>[],
    stepsMax: number
  ) {
    const sorted = operations.toSorted((a, b) => a.call - b.call)
    this.#model = model
    this.#known = sorted.filter((operation) => operation.return !== Number.POSITIVE_INFINITY)
    this.#unknown = sorted.filter((operation) => operation.return === Number.POSITIVE_INFINITY)
    this.#unknownNames = this.#unknown.map(({ input }) => JSON.stringify(input))
    this.#stepsMax = stepsMax
    this.#isDone = new Uint8Array(this.#known.length)
    this.#state = model.initial
    this.#left = this.#known.length
    this.#link()
  }

  #link(): void {
    const nodes: Node[] = []
    for (const [index, operation] of this.#known.entries()) {
      const blank = { index, match: undefined, previous: undefined, next: undefined }
      const end: Node = { ...blank, isReturn: true, place: operation.return }
      nodes.push({ ...blank, isReturn: false, place: operation.call, match: end }, end)
    }
    let last = this.#head
    for (const node of nodes.toSorted((a, b) => a.place - b.place)) {
      last.next = node
      node.previous = last
      last = node
    }
  }

  run(): Verdict {
    let node = this.#head.next
    let unknown = 0
    while (this.#left > 0) {
      if (++this.#steps > this.#stepsMax) return this.#undecided()
      if (node !== undefined && !node.isReturn) {
        if (this.#takeKnown(node)) {
          node = this.#head.next
          unknown = 0
        } else {
          node = node.next
        }
        continue
      }
      // Everything called before this return was tried; now those that may never have been done.
      const limit = node?.place ?? Number.POSITIVE_INFINITY
      unknown = this.#takeUnknown(unknown, limit)
      if (unknown >= 0) {
        node = this.#head.next
        unknown = 0
        continue
      }
      if (node !== undefined) this.#noteObstacle(node)
      const last = this.#taken.pop()
      if (last === undefined) return this.#violation()
      this.#undo(last)
      // Go on where the one that is undone was taken.
      node = last.node?.next ?? this.#firstReturn()
      unknown = last.node === undefined ? last.unknown + 1 : 0
    }
    return { kind: 'linearizable' }
  }

  #firstReturn(): Node | undefined {
    let node = this.#head.next
    while (node !== undefined && !node.isReturn) node = node.next
    return node
  }

  #takeKnown(node: Node): boolean {
    const { input, output } = this.#known[node.index] as Operation<Input, Output>
    const next = this.#model.step(this.#state, input, output)
    if (next === undefined) return false
    const lowBefore = this.#low
    this.#isDone[node.index] = 1
    while (this.#isDone[this.#low] === 1) this.#low += 1
    if (!this.#isNew(next)) {
      this.#isDone[node.index] = 0
      this.#low = lowBefore
      return false
    }
    this.#taken.push({ node, unknown: -1, before: this.#state, lowBefore })
    this.#state = next
    this.#left -= 1
    unlink(node)
    unlink(node.match as Node)
    return true
  }

  /** @returns the place of the one that was taken, from `from` on; -1 when there is none. */
  #takeUnknown(from: number, limit: number): number {
    const now = this.#model.identity(this.#state)
    for (let place = from; place < this.#unknown.length; place++) {
      const { input, call } = this.#unknown[place] as Operation<Input, Output>
      if (call > limit) return -1
      if (this.#isUnknownDone(place) || this.#hasEarlierTwin(place)) continue
      const next = this.#model.step(this.#state, input, undefined)
      if (next === undefined) throw new Error('An unknown operation can be done in any state')
      if (this.#model.identity(next) === now) continue
      this.#unknownDone ^= 1n << BigInt(place)
      if (!this.#isNew(next)) {
        this.#unknownDone ^= 1n << BigInt(place)
        continue
      }
      this.#taken.push({
        node: undefined,
        unknown: place,
        before: this.#state,
        lowBefore: this.#low
      })
      this.#state = next
      return place
    }
    return -1
  }

  /** Of equal operations that may be done or not, the one called first is done first. */
  #hasEarlierTwin(place: number): boolean {
    for (let other = 0; other < place; other++) {
      const isEqual = this.#unknownNames[other] === this.#unknownNames[place]
      if (isEqual && !this.#isUnknownDone(other)) return true
    }
    return false
  }

  #isUnknownDone(place: number): boolean {
    return ((this.#unknownDone >> BigInt(place)) & 1n) === 1n
  }

  #undo({ node, unknown, before, lowBefore }: Taken<State>): void {
    this.#state = before
    this.#low = lowBefore
    if (node === undefined) {
      this.#unknownDone ^= 1n << BigInt(unknown)
      return
    }
    this.#isDone[node.index] = 0
    this.#left += 1
    relink(node.match as Node)
    relink(node)
  }

  /**
   * Whether it is worth going on from here: not if the same was tried with no more of the unknown
   * operations used up. Exact: nothing is hashed.
   */
  #isNew(state: State): boolean {
    let key = `${this.#low}:`
    const last = this.#isDone.lastIndexOf(1)
    for (let index = this.#low; index <= last; index++) key += this.#isDone[index]
    key += `|${this.#model.identity(state)}`
    const tried = this.#seen.get(key)
    const now = this.#unknownDone
    if (tried === undefined) {
      this.#seen.set(key, [now])
      return true
    }
    if (tried.some((used) => (used & now) === used)) return false
    tried.push(now)
    return true
  }

  // What is told of a violation.

  #noteObstacle(node: Node): void {
    if (this.#obstacle !== undefined && this.#obstacle.node.place >= node.place) return
    const order = this.#taken.map((taken) =>
      this.#inWords(
        taken.node === undefined
          ? (this.#unknown[taken.unknown] as Operation<Input, Output>)
          : (this.#known[taken.node.index] as Operation<Input, Output>)
      )
    )
    this.#obstacle = { node, order, state: this.#model.identity(this.#state) }
  }

  #inWords({ id, client, input, output }: Operation<Input, Output>): string {
    return `${id} by ${client}: ${this.#model.describe(input, output)}`
  }

  #violation(): Verdict {
    const { node, order, state } = this.#obstacle as Obstacle
    const stuck = this.#known[node.index] as Operation<Input, Output>
    const beside = [...this.#known, ...this.#unknown].filter(
      (other) => other !== stuck && other.call < stuck.return && other.return > stuck.call
    )
    const shown = order.slice(-8)
    const text = [
      `No order explains all that was told until ${this.#inWords(stuck)}`,
      `One that comes as far as that ${order.length === 0 ? 'is empty' : 'ends with'}`,
      ...shown.map((line) => `  ${line}`),
      `and leaves ${state}`,
      ...(beside.length === 0 ? ['Nothing ran beside it'] : ['Beside it ran']),
      ...beside.map((other) => `  ${this.#inWords(other)}`)
    ].join('\n')
    return { kind: 'violation', key: stuck.key, text }
  }

  #undecided(): Verdict {
    const key = (this.#known[0] as Operation<Input, Output>).key
    const text = `No order was found in ${this.#stepsMax} steps; use fewer clients for a key`
    return { kind: 'undecided', key, text }
  }
}

function unlink({ previous, next }: Node): void {
  if (previous !== undefined) previous.next = next
  if (next !== undefined) next.previous = previous
}

function relink(node: Node): void {
  if (node.previous !== undefined) node.previous.next = node
  if (node.next !== undefined) node.next.previous = node
}
