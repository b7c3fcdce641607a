// Reads that wait until it is certain that the state shows all that was acknowledged before them.
// Those that come together share one question to the leader. (Raft dissertation, §6.4.)

import { MeshError } from '../base/errors.ts'
import { toHex } from '../base/bytes.ts'

/** Reads of one group that wait, at most. */
const WAITING_MAX = 16_384
/** A question that was not answered for so many ticks may be lost, and is asked again. */
const RETRY_TICKS = 2

type Waiting = {
  readonly resolve: () => void
  readonly reject: (error: MeshError) => void
  /** Given up when the replica's ticks reach this. */
  readonly deadlineTick: number
}

type Asked = { readonly waiting: Waiting[]; readonly atTick: number }

export class ReadWaits {
  #tick = 0
  #count = 0
  #sequence = 0
  readonly #nonce: Uint8Array
  /** Not asked yet. */
  #queued: Waiting[] = []
  readonly #asked = new Map<string, Asked>()
  /** Answered: what must be applied first. Ascending enough to be looked through. */
  #indexed: { readonly index: number; readonly waiting: readonly Waiting[] }[] = []

  /** @param nonce eight random bytes: an answer to a question before a restart is nobody's */
  constructor(nonce: Uint8Array) {
    this.#nonce = nonce
  }

  /**
   * Resolves when the state is new enough.
   *
   * @param ticksMax how long to wait @throws no-quorum, overloaded
   */
  async wait(ticksMax: number): Promise<void> {
    if (this.#count >= WAITING_MAX) {
      throw new MeshError('overloaded', `${WAITING_MAX} reads wait already; try again later`)
    }
    this.#count += 1
    try {
      await new Promise<void>((resolve, reject) => {
        this.#queued.push({ resolve, reject, deadlineTick: this.#tick + ticksMax })
      })
    } finally {
      this.#count -= 1
    }
  }

  hasQueued(): boolean {
    return this.#queued.length > 0
  }

  /** Asks for all that is queued. @param ask returns whether the question went out */
  flush(ask: (context: Uint8Array) => boolean): void {
    if (this.#queued.length === 0) return
    const context = this.#nextContext()
    if (!ask(context)) return
    this.#asked.set(toHex(context), { waiting: this.#queued, atTick: this.#tick })
    this.#queued = []
  }

  /** The leader answered. */
  answered(context: Uint8Array, index: number, applied: number): void {
    const key = toHex(context)
    const asked = this.#asked.get(key)
    if (asked === undefined) return
    this.#asked.delete(key)
    if (index <= applied) for (const { resolve } of asked.waiting) resolve()
    else this.#indexed.push({ index, waiting: asked.waiting })
  }

  applied(index: number): void {
    if (this.#indexed.length === 0) return
    const due = this.#indexed.filter((read) => read.index <= index)
    if (due.length === 0) return
    this.#indexed = this.#indexed.filter((read) => read.index > index)
    for (const { waiting } of due) for (const { resolve } of waiting) resolve()
  }

  /** @returns whether something is to be asked again. */
  tick(): boolean {
    this.#tick += 1
    if (this.#count === 0) return false
    for (const [key, { waiting, atTick }] of this.#asked) {
      if (this.#tick - atTick < RETRY_TICKS) continue
      this.#asked.delete(key)
      this.#queued.push(...waiting)
    }
    this.#queued = this.#withoutOverdue(this.#queued)
    this.#indexed = this.#indexed.flatMap(({ index, waiting }) => {
      const left = this.#withoutOverdue(waiting)
      return left.length === 0 ? [] : [{ index, waiting: left }]
    })
    return this.#queued.length > 0
  }

  /** None of them will be answered here. */
  end(error: MeshError): void {
    const all = [
      ...this.#queued,
      ...[...this.#asked.values()].flatMap(({ waiting }) => waiting),
      ...this.#indexed.flatMap(({ waiting }) => waiting)
    ]
    this.#queued = []
    this.#asked.clear()
    this.#indexed = []
    for (const { reject } of all) reject(error)
  }

  #withoutOverdue(waiting: readonly Waiting[]): Waiting[] {
    return waiting.filter(({ deadlineTick, reject }) => {
      if (deadlineTick > this.#tick) return true
      reject(noQuorum())
      return false
    })
  }

  #nextContext(): Uint8Array {
    this.#sequence += 1
    const context = new Uint8Array(16)
    context.set(this.#nonce)
    new DataView(context.buffer).setFloat64(8, this.#sequence)
    return context
  }
}

function noQuorum(): MeshError {
  const problem = 'no leader of the shard confirmed in time that it still leads'
  return new MeshError('no-quorum', `Cannot read: ${problem}; a stale read needs none`)
}
