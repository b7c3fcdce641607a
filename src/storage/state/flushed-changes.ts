// The changes of several groups as one write of the medium: each key once, with the group's record,
// whose sums are kept up from what the medium has. (D-14)

import { MeshError } from '../../base/errors.ts'
import { KIB } from '../../base/units.ts'
import type { ChangeTable } from './change-table.ts'
import { DELETED } from './change-table.ts'
import type { MediumChange, StateMedium } from './state-medium.ts'
import { addToSum, encodeGroupRecord, groupKey, pairKey, seal, sumOf } from './state-record.ts'
import type { StoredGroupState } from './stored-group-state.ts'

/** Arrays of their own cost more than what is in them; so keys and values stand in larger ones. */
const SLAB_BYTES: number = 64 * KIB

export class FlushedChanges {
  readonly changes: MediumChange[] = []
  readonly #medium: Pick<StateMedium, 'peek'>
  readonly #takeSlot: () => number
  readonly #sealed: { readonly group: StoredGroupState; readonly table: ChangeTable }[] = []

  #slab = new Uint8Array(0)
  #used = 0

  constructor(medium: Pick<StateMedium, 'peek'>, takeSlot: () => number) {
    this.#medium = medium
    this.#takeSlot = takeSlot
  }

  /** @returns false for a group that turns out to be damaged: nothing of it is written. */
  add(group: StoredGroupState): boolean {
    const { table, note } = group.seal()
    const before = group.record
    const slot = before?.slot ?? this.#takeSlot()
    let { pairCount, pairSum } = before ?? { pairCount: 0, pairSum: 0 }
    const isFirst = before === undefined
    this.#sealed.push({ group, table })
    const own: MediumChange[] = []
    const take = (length: number): Uint8Array => this.#take(length)
    try {
      for (const { key, value, below } of table.range({})) {
        if (below === 'none' && value === DELETED) continue
        const whole = pairKey(slot, key, take)
        const old = isFirst || below === 'none' ? undefined : (below ?? this.#sumAt(whole))
        if (old !== undefined) {
          pairCount -= 1
          pairSum = addToSum(pairSum, -old)
        }
        if (value === DELETED) {
          if (old !== undefined) own.push({ key: whole, value: undefined })
          continue
        }
        const sealed = seal(whole, value, take)
        pairCount += 1
        pairSum = addToSum(pairSum, sumOf(sealed))
        own.push({ key: whole, value: sealed })
      }
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== 'corrupt') throw error
      group.reportDamage(error)
      return false
    }
    const record = { slot, pairCount, pairSum, note }
    const key = groupKey(group.id)
    group.setRecord(record)
    for (const change of own) this.changes.push(change)
    this.changes.push({ key, value: encodeGroupRecord(key, record) })
    return true
  }

  #sumAt(whole: Uint8Array): number | undefined {
    const old = this.#medium.peek(whole)
    return old === undefined ? undefined : sumOf(old)
  }

  #take(length: number): Uint8Array {
    if (this.#used + length > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(SLAB_BYTES, length))
      this.#used = 0
    }
    this.#used += length
    return this.#slab.subarray(this.#used - length, this.#used)
  }

  /** What was added is in the medium. */
  end(): void {
    for (const { group, table } of this.#sealed) group.unseal(table)
  }
}
