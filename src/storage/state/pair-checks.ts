// Whether the pairs of a group are all there and right, found out by reading them once. (D-13, D-14)

import { MeshError } from '../../base/errors.ts'
import { compareBytes } from '../../core/machine/ordered-state.ts'
import type { StateGroupId } from '../state-store.ts'
import type { MediumReader, StateMedium } from './state-medium.ts'
import { addToSum, decodeGroupRecord, groupKey, slotRange } from './state-record.ts'
import { sumOf, unseal, type GroupRecord } from './state-record.ts'

/** Pairs read before others may run: a millisecond or two. */
const PAIRS_PER_TURN = 512

/** Groups that were there at the opening, until somebody has them checked. */
export class PairChecks {
  readonly #medium: StateMedium
  /** Their slots. */
  readonly #left = new Map<StateGroupId, number>()

  constructor(medium: StateMedium) {
    this.#medium = medium
  }

  found(id: StateGroupId, slot: number): void {
    this.#left.set(id, slot)
  }

  /** Nothing may be left to check. */
  opened(): void {
    if (this.#left.size === 0) this.#medium.checked()
  }

  /**
   * @param slot where the group is now: what was installed meanwhile is right
   * @returns what is wrong with what is there, once @throws stopped
   */
  async check(id: StateGroupId, slot: () => number | undefined): Promise<string | undefined> {
    const before = this.#left.get(id)
    if (before === undefined) return undefined
    const problem = before === slot() ? await checkPairs(this.#medium, id) : undefined
    this.#left.delete(id)
    this.opened()
    return before === slot() ? problem : undefined
  }
}

/** @returns what is wrong with the pairs that a group has now @throws stopped when the medium was closed */
async function checkPairs(medium: StateMedium, id: StateGroupId): Promise<string | undefined> {
  const reader = medium.reader()
  try {
    const key = groupKey(id)
    const value = reader.get(key)
    const record = value === undefined ? undefined : decodeGroupRecord(key, value)
    if (record === undefined) return 'its record is damaged'
    return await check({ reader, turn: async () => await medium.turn() }, record)
  } catch (error) {
    if (error instanceof MeshError && error.code === 'corrupt') return error.message
    throw error
  } finally {
    reader.close()
  }
}

async function check(
  { reader, turn }: { reader: MediumReader; turn: () => Promise<void> },
  record: GroupRecord
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
    if (pairCount % PAIRS_PER_TURN === 0) await turn()
  }
  const isRight = pairCount === record.pairCount && pairSum === record.pairSum
  return isRight ? undefined : `it has ${pairCount} pairs, not the ${record.pairCount} it had`
}
