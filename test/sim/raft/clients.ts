// Those who use the group: they propose entries and read, at any replica, and remember what they
// were told.

import type { Random } from '../../../src/base/random.ts'
import type { Entry, ReplicaId } from '../../../src/core/raft/messages.ts'
import type { ReadState } from '../../../src/core/raft/state.ts'
import type { Ledger } from './ledger.ts'
import { bytesOfNumber, numberOfBytes, numberOfEntry } from './machine.ts'
import { demand } from './violation.ts'
import type { Host } from './world.ts'

type Proposal = { readonly replica: ReplicaId; readonly life: number }
type Read = { readonly replica: Host; readonly life: number; readonly floor: number }
type WaitingRead = { readonly read: Read; readonly index: number; readonly name: number }

/**
 * The object that clients see is a register that only grows: the committed log. A write appends one
 * entry; it is acknowledged when the replica it was proposed at has applied it. A read returns how
 * much of the log the replica shows, which says all, because StateMachineSafety makes equal lengths
 * equal contents.
 *
 * Such a history is linearizable if every read shows at least every write that was acknowledged,
 * and every state that was read, before it began: order operations by the index that they wrote or
 * showed. That is checked by more than it asks for. The floor of a read is the highest index that
 * any leader had committed when the read began. Whatever was acknowledged or read before then was
 * applied somewhere, so it was committed, so it is not above the floor.
 */
export class Clients {
  readonly #ledger: () => Ledger
  readonly #proposals = new Map<number, Proposal>()
  readonly #reads = new Map<number, Read>()
  #waiting: WaitingRead[] = []
  /** What was acknowledged: the index of each proposal. */
  readonly #acknowledged = new Map<number, number>()
  #names = 0
  /** Reads that were answered, by name. */
  readonly answered: Set<number> = new Set()

  constructor(ledger: () => Ledger) {
    this.#ledger = ledger
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.size
  }

  /** @returns the name of the proposal */
  propose(replica: Host, lengths: readonly number[]): number {
    const data = lengths.map((length) => {
      const name = ++this.#names
      this.#proposals.set(name, { replica: replica.id, life: replica.life })
      return bytesOfNumber(name, length)
    })
    replica.input('proposes', this.#names, (raft) => raft.propose(data))
    return this.#names
  }

  /** @returns the name of the read */
  read(replica: Host): number {
    const name = ++this.#names
    const floor = this.#ledger().committed
    this.#reads.set(name, { replica, life: replica.life, floor })
    replica.input('reads', name, (raft) => raft.readIndex(bytesOfNumber(name)))
    return name
  }

  isAcknowledged(name: number): boolean {
    return this.#acknowledged.has(name)
  }

  /** @returns where an acknowledged proposal stands. */
  indexOf(name: number): number | undefined {
    return this.#acknowledged.get(name)
  }

  onApplied(replica: Host, entry: Entry): void {
    const name = numberOfEntry(entry)
    const proposal = name === undefined ? undefined : this.#proposals.get(name)
    if (proposal?.replica === replica.id && proposal.life === replica.life) {
      this.#acknowledged.set(name as number, entry.index)
    }
    if (this.#waiting.length > 0) this.#answer(replica)
  }

  onRead(replica: Host, { context, index }: ReadState): void {
    const name = numberOfBytes(context)
    const read = this.#reads.get(name)
    // A request that came twice is answered twice; an asker that crashed has no use for it.
    if (read === undefined || read.replica !== replica || read.life !== replica.life) return
    this.#reads.delete(name)
    const detail = `r${replica.id} may read at ${index}, and ${read.floor} was committed before`
    demand('LinearizableRead', index >= read.floor, detail)
    const isCommitted = index <= this.#ledger().committed
    demand('ReadsCommitted', isCommitted, `r${replica.id} may read at ${index}`)
    this.#waiting.push({ read, index, name })
    this.#answer(replica)
  }

  #answer(replica: Host): void {
    this.#waiting = this.#waiting.filter(({ read, index, name }) => {
      if (read.life !== read.replica.life) return false
      if (read.replica !== replica || replica.machine.applied < index) return true
      this.answered.add(name)
      return false
    })
  }

  /** @param index everything that was acknowledged must be there and not above this */
  checkNothingLost(index: number): void {
    const ledger = this.#ledger()
    for (const [name, at] of this.#acknowledged) {
      const entry = ledger.entry(at)
      const isThere = entry !== undefined && numberOfEntry(entry) === name
      demand('AcknowledgedIsKept', isThere && at <= index, `proposal ${name} stood at ${at}`)
    }
  }
}

/** @returns how long the entries of one proposal are: most are single and short. */
export function drawLengths(random: Random, bytesMax: number): number[] {
  const count = random.below(6) === 0 ? 1 + random.below(4) : 1
  return Array.from({ length: count }, () => 4 + random.below(bytesMax))
}
