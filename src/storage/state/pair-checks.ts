// Whether the pairs of a group are all there and right, found out by reading them once. (D-13, D-14)

import { sleep, type Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import { compareBytes } from '../../core/machine/ordered-state.ts'
import type { StateGroupId } from '../state-store.ts'
import type { MediumReader, StateMedium } from './state-medium.ts'
import { addToSum, decodeGroupRecord, groupKey, slotRange } from './state-record.ts'
import { sumOf, unseal, type GroupRecord } from './state-record.ts'

/** After a millisecond of reading that nobody waits for. */
const PAUSE_MS = 4
/** Pairs read before others may run: a millisecond, and eight when somebody waits for it. */
const PAIRS_PER_TURN = 512
const URGENT_PAIRS_PER_TURN = 4_096

export type CheckOptions = {
  /** Where the group is now: what was installed meanwhile is right. */
  readonly slot: () => number | undefined
  readonly isUrgent: () => boolean
}

/** How it lets others run. */
type Pace = { readonly isUrgent: () => boolean; readonly pause: () => Promise<void> }

/** Groups that were there at the opening, until somebody has them checked. */
export class PairChecks {
  readonly #medium: StateMedium
  readonly #clock: Clock
  /** Their slots. */
  readonly #left = new Map<StateGroupId, number>()

  constructor({ medium, clock }: { medium: StateMedium; clock: Clock }) {
    this.#medium = medium
    this.#clock = clock
  }

  found(id: StateGroupId, slot: number): void {
    this.#left.set(id, slot)
  }

  /** Nothing may be left to check. */
  opened(): void {
    if (this.#left.size === 0) this.#medium.checked()
  }

  /** @returns what is wrong with what is there, once @throws stopped */
  async check(id: StateGroupId, options: CheckOptions): Promise<string | undefined> {
    const before = this.#left.get(id)
    if (before === undefined) return undefined
    const { slot, isUrgent } = options
    const pause = async (): Promise<void> => {
      await (isUrgent() ? this.#medium.turn() : sleep(this.#clock, PAUSE_MS))
    }
    const problem =
      before === slot() ? await checkPairs(this.#medium, id, { isUrgent, pause }) : undefined
    this.#left.delete(id)
    this.opened()
    return before === slot() ? problem : undefined
  }
}

/** @returns what is wrong with the pairs that a group has now @throws stopped when the medium was closed */
async function checkPairs(
  medium: StateMedium,
  id: StateGroupId,
  pace: Pace
): Promise<string | undefined> {
  const reader = medium.reader()
  try {
    const key = groupKey(id)
    const value = reader.get(key)
    const record = value === undefined ? undefined : decodeGroupRecord(key, value)
    return record === undefined ? 'its record is damaged' : await check(reader, record, pace)
  } catch (error) {
    if (error instanceof MeshError && error.code === 'corrupt') return error.message
    throw error
  } finally {
    reader.close()
  }
}

async function check(
  reader: MediumReader,
  record: GroupRecord,
  { isUrgent, pause }: Pace
): Promise<string | undefined> {
  let pairCount = 0
  let pairSum = 0
  let last: Uint8Array | undefined
  for (const { key, value } of reader.lookups(slotRange(record.slot))) {
    // What leads to a pair may be damaged although all pairs are there.
    if (value === undefined) return 'a pair cannot be found by its key'
    if (unseal(key, value) === undefined) return 'a pair fails its checksum'
    if (last !== undefined && compareBytes(last, key) >= 0) return 'its pairs are out of order'
    last = key
    pairCount += 1
    pairSum = addToSum(pairSum, sumOf(value))
    if (pairCount % PAIRS_PER_TURN !== 0) continue
    if (!isUrgent() || pairCount % URGENT_PAIRS_PER_TURN === 0) await pause()
  }
  const isRight = pairCount === record.pairCount && pairSum === record.pairSum
  return isRight ? undefined : `it has ${pairCount} pairs, not the ${record.pairCount} it had`
}
