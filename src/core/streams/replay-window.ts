// What a source has emitted and isn't sure of yet: emitted again when it failed or took too long, until
// all that came of it was processed. Positions become final in the order of the source: one does when
// everything before it is done.

import { AckLedger, type Id } from './ack-ledger.ts'

export type ReplayOptions = {
  /** Values that may be under way at one time, when they are processed fast enough. */
  readonly pendingMax: number
  /** A value is emitted again after so long. */
  readonly timeoutMs: number
  /** A value that was emitted so often without success is given up. */
  readonly triesMax: number
  /** Of the first root. Those of another window of the same source are beyond its own. */
  readonly firstRoot: number
}

/** What may be under way before anything was processed. */
const LIMIT_FIRST = 256
/** Parts of the time that a value has. */
const PLENTY = 0.25
const SCARCE = 0.5

type Entry<Value> = { readonly value: Value; tries: number; sinceMs: number }

/** To be emitted now, with `begin`. */
export type Replay<Value> = { readonly sequence: number; readonly value: Value }

export class ReplayWindow<Value, Position> {
  readonly #options: ReplayOptions
  readonly #ledger = new AckLedger()
  /** By number, in order. What isn't there any more is done or was given up. */
  readonly #entries = new Map<number, Entry<Value>>()
  readonly #sequenceOf = new Map<number, number>()
  #marks: { readonly sequence: number; readonly position: Position }[] = []
  /** Failed, and not emitted again yet. */
  #failed: number[] = []
  /**
   * What may be under way now: as much as is processed in a part of the time, and half as much when
   * something isn't in time. Else all that waits in front of a slow bolt would be emitted again and again.
   */
  #limit: number
  /** Until then it is late for another reason. */
  #excusedMs = Number.NEGATIVE_INFINITY
  #nextSequence = 0
  #nextRoot: number
  #position: Position | undefined

  acked = 0
  replayed = 0
  givenUp = 0

  constructor(options: ReplayOptions) {
    this.#options = options
    this.#nextRoot = options.firstRoot
    this.#limit = Math.min(LIMIT_FIRST, options.pendingMax)
  }

  get pending(): number {
    return this.#entries.size
  }

  get isFull(): boolean {
    return this.#entries.size >= this.#limit
  }

  /** The last mark before which everything is done; undefined when there is none. */
  get position(): Position | undefined {
    return this.#position
  }

  /** The next value of the source. @returns its number, for `begin` */
  add(value: Value): number {
    const sequence = this.#nextSequence++
    this.#entries.set(sequence, { value, tries: 0, sinceMs: 0 })
    return sequence
  }

  /** Whoever begins from here sees all that comes after what was added so far. */
  mark(position: Position): void {
    this.#marks.push({ sequence: this.#nextSequence, position })
    this.#advance()
  }

  /** @returns the root of the tree that a value, now emitted, is to be known by */
  nextRoot(): number {
    return this.#nextRoot++
  }

  /** A value was emitted. @param ids of the tuples, XORed */
  begin(sequence: number, { root, ids }: { root: number; ids: Id }, nowMs: number): void {
    const entry = this.#entries.get(sequence)
    if (entry === undefined) return
    entry.tries += 1
    entry.sinceMs = nowMs
    this.#sequenceOf.set(root, sequence)
    if (!this.#ledger.begin(root, ids, nowMs + this.#options.timeoutMs)) this.#done(root, nowMs)
  }

  /** Told of a tree, also of one that was given up. */
  xor(root: number, { high, low }: Id, nowMs: number): void {
    if (this.#ledger.xor(root, high, low)) this.#done(root, nowMs)
  }

  /** Something of a tree failed: its value is emitted again. */
  fail(root: number): void {
    if (this.#ledger.drop(root)) this.#lost(root)
  }

  /** What is under way has until then at most: something that had a part of it is gone. */
  hasten(dueMs: number): void {
    this.#ledger.hasten(dueMs)
    this.#excusedMs = dueMs + this.#options.timeoutMs
  }

  /** @returns what is to be emitted again now, the oldest first */
  takeReplays(nowMs: number): Replay<Value>[] {
    const due = this.#ledger.takeDue(nowMs)
    for (const root of due) this.#lost(root)
    if (due.length > 0 && nowMs >= this.#excusedMs) {
      this.#limit = Math.max(1, Math.floor(this.#limit / 2))
      // All that is under way now was emitted by the limit that there was.
      this.#excusedMs = nowMs + this.#options.timeoutMs
    }
    const failed = this.#failed.toSorted((a, b) => a - b)
    this.#failed = []
    const replays: Replay<Value>[] = []
    for (const sequence of failed) {
      const entry = this.#entries.get(sequence)
      if (entry === undefined) continue
      if (entry.tries >= this.#options.triesMax) {
        this.#entries.delete(sequence)
        this.givenUp += 1
      } else {
        this.replayed += 1
        replays.push({ sequence, value: entry.value })
      }
    }
    this.#advance()
    return replays
  }

  #lost(root: number): void {
    const sequence = this.#sequenceOf.get(root)
    this.#sequenceOf.delete(root)
    if (sequence !== undefined) this.#failed.push(sequence)
  }

  #done(root: number, nowMs: number): void {
    const sequence = this.#sequenceOf.get(root)
    this.#sequenceOf.delete(root)
    const entry = sequence === undefined ? undefined : this.#entries.get(sequence)
    if (sequence === undefined || entry === undefined) return
    this.#entries.delete(sequence)
    this.acked += 1
    this.#adapt(nowMs - entry.sinceMs)
    this.#advance()
  }

  /** More may be under way while there is plenty of time, less before it runs out. */
  #adapt(tookMs: number): void {
    const { timeoutMs, pendingMax } = this.#options
    if (tookMs < timeoutMs * PLENTY) this.#limit = Math.min(this.#limit + 1, pendingMax)
    else if (tookMs > timeoutMs * SCARCE) this.#limit = Math.max(1, this.#limit - 1)
  }

  #advance(): void {
    if (this.#marks.length === 0) return
    const [oldest = this.#nextSequence] = this.#entries.keys()
    let count = 0
    for (const { sequence, position } of this.#marks) {
      if (sequence > oldest) break
      this.#position = position
      count += 1
    }
    if (count > 0) this.#marks.splice(0, count)
  }
}
