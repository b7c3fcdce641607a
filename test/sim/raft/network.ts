// The network between simulated replicas. It loses, doubles, delays and reorders, brings old
// messages again, and can be cut in either direction; it never changes what it carries.

import { chance, pick, type Random } from '../../../src/base/random.ts'
import type { Message, ReplicaId } from '../../../src/core/raft/messages.ts'
import { streamOf, type Fault, type Plan } from './plan.ts'
import { UNITS_PER_TICK, type Schedule } from './schedule.ts'
import type { Trace } from './trace.ts'

/** Old messages that may come again. */
const REMEMBERED = 256

/** A message on its way. Its sender may not be who it is from: proposals and reads are passed on. */
export type Parcel = { readonly sender: ReplicaId; readonly message: Message }

export type NetworkParts = {
  readonly plan: Plan
  readonly schedule: Schedule
  readonly trace: Trace
  /** Hands a message over. @returns false when nobody is there */
  readonly deliver: (message: Message) => boolean
  /** Tells the sender that a message will not arrive, as far as one can know. */
  readonly onLost: (parcel: Parcel) => void
  /** Tells the sender that a message has arrived, as far as one can know. */
  readonly onArrived: (parcel: Parcel) => void
}

export class Network {
  readonly #parts: NetworkParts
  readonly #random: Random
  /** For each pair how many cuts there are, by `from * 8 + to`. */
  readonly #cuts = new Uint8Array(128)
  /** When the last message of a link arrives: where nothing is reordered, none overtakes it. */
  readonly #lastArrival = new Float64Array(128)
  /** How much later than usual a replica hears of anything, in units. */
  readonly #lags = new Uint16Array(8)
  readonly #old: Parcel[] = []
  #sent = 0
  #isCalm = false
  /** Messages of an earlier epoch are gone. */
  #epoch = 0
  readonly #lossPerMille: number
  readonly #duplicatePerMille: number
  readonly #slowPerMille: number
  readonly #jitterUnits: number

  constructor(parts: NetworkParts) {
    this.#parts = parts
    const { seed, faults } = parts.plan
    this.#random = streamOf(seed, 'network')
    const amounts = streamOf(seed, 'network amounts')
    const some = (fault: Fault, max: number): number => {
      const amount = 1 + amounts.below(max)
      return faults.has(fault) ? amount : 0
    }
    this.#lossPerMille = some('loss', 250)
    this.#duplicatePerMille = some('duplication', 200)
    this.#slowPerMille = some('delay', 200)
    this.#jitterUnits = 1 + amounts.below(UNITS_PER_TICK)
  }

  send(parcel: Parcel): void {
    const random = this.#random
    const isLost = chance(random, this.#calm(this.#lossPerMille), 1_000)
    const isDoubled = chance(random, this.#calm(this.#duplicatePerMille), 1_000)
    const delay = this.#delay() + (this.#lags[parcel.message.to] as number)
    const again = this.#delay() + random.below(5 * UNITS_PER_TICK)
    if (this.#parts.plan.faults.has('replay')) this.#remember(parcel)
    if (isDoubled) this.#carry(parcel, again)
    if (isLost || this.#isCut(parcel)) this.#lose(parcel)
    else this.#carry(parcel, this.#inOrder(parcel, delay))
  }

  /** Brings a message of the past again, if there is one. */
  replay(random: Random): void {
    if (this.#old.length > 0) this.#carry(pick(random, this.#old), 0)
  }

  cut(from: ReplicaId, to: ReplicaId): void {
    this.#cuts[from * 8 + to] = (this.#cuts[from * 8 + to] as number) + 1
  }

  mend(from: ReplicaId, to: ReplicaId): void {
    const cuts = this.#cuts[from * 8 + to] as number
    if (cuts > 0) this.#cuts[from * 8 + to] = cuts - 1
  }

  /** From now on all that a replica hears is so old; 0 as usual. */
  lag(id: ReplicaId, units: number): void {
    this.#lags[id] = units
  }

  /** No more faults; what is under way is lost. */
  calm(): void {
    this.#isCalm = true
    this.#epoch += 1
    this.#cuts.fill(0)
    this.#lags.fill(0)
  }

  #calm(perMille: number): number {
    return this.#isCalm ? 0 : perMille
  }

  #delay(): number {
    const random = this.#random
    const isSlow = chance(random, this.#calm(this.#slowPerMille), 1_000)
    const usual = 1 + random.below(this.#jitterUnits)
    return isSlow ? usual + random.below(20 * UNITS_PER_TICK) : usual
  }

  #inOrder({ sender, message }: Parcel, delay: number): number {
    const { schedule, plan } = this.#parts
    if (plan.faults.has('reorder') && !this.#isCalm) return delay
    const link = sender * 8 + message.to
    const arrival = Math.max(schedule.now + delay, this.#lastArrival[link] as number)
    this.#lastArrival[link] = arrival
    return arrival - schedule.now
  }

  #remember(parcel: Parcel): void {
    this.#old[this.#sent++ % REMEMBERED] = parcel
  }

  #isCut({ sender, message }: Parcel): boolean {
    return (this.#cuts[sender * 8 + message.to] as number) > 0
  }

  #carry(parcel: Parcel, delay: number): void {
    const epoch = this.#epoch
    this.#parts.schedule.after(delay, () => {
      const isGone = epoch !== this.#epoch || this.#isCut(parcel)
      if (isGone || !this.#parts.deliver(parcel.message)) this.#lose(parcel)
      else this.#parts.onArrived(parcel)
    })
  }

  #lose(parcel: Parcel): void {
    this.#parts.trace.note(parcel.sender, 'lost', parcel.message)
    this.#parts.onLost(parcel)
  }
}
