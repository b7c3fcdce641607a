// A state brought from elsewhere: it gathers in a slot of its own, and one record makes it the
// group's. (D-16)

import { assert } from '../../base/assert.ts'
import { MeshError } from '../../base/errors.ts'
import { MIB } from '../../base/units.ts'
import { compareBytes, type Pair } from '../../core/machine/ordered-state.ts'
import { STATE_NOTE_BYTES_MAX, type StateInstall } from '../state-store.ts'
import type { MediumChange } from './state-medium.ts'
import { addToSum, encodeGroupRecord, pairKey, seal, sumOf } from './state-record.ts'
import type { GroupRecord } from './state-record.ts'

const WRITE_BYTES: number = MIB

export type InstallHost = {
  readonly groupKey: Uint8Array
  write(changes: readonly MediumChange[]): Promise<void>
  /** Writes the last changes, and makes the slot the group's. */
  finish(changes: readonly MediumChange[], record: GroupRecord): Promise<void>
  abort(slot: number): void
}

export class StoredInstall implements StateInstall {
  readonly #host: InstallHost
  readonly #slot: number
  #changes: MediumChange[] = []
  #bytes = 0
  #pairCount = 0
  #pairSum = 0
  #lastKey: Uint8Array | undefined
  #hasEnded = false

  constructor(slot: number, host: InstallHost) {
    this.#slot = slot
    this.#host = host
  }

  async write(pairs: readonly Pair[]): Promise<void> {
    assert(!this.#hasEnded, 'nothing is written to an install that has ended')
    for (const { key, value } of pairs) {
      const isNext = this.#lastKey === undefined || compareBytes(this.#lastKey, key) < 0
      if (!isNext) {
        const message = 'Cannot install a state: its keys are not in ascending order'
        throw new MeshError('invalid-data', message)
      }
      this.#lastKey = key
      const whole = pairKey(this.#slot, key)
      const sealed = seal(whole, value)
      this.#pairCount += 1
      this.#pairSum = addToSum(this.#pairSum, sumOf(sealed))
      this.#bytes += whole.length + sealed.length
      this.#changes.push({ key: whole, value: sealed })
    }
    if (this.#bytes < WRITE_BYTES) return
    const changes = this.#changes
    this.#changes = []
    this.#bytes = 0
    await this.#host.write(changes)
  }

  async finish(note: Uint8Array): Promise<void> {
    assert(!this.#hasEnded, 'an install ends once')
    if (note.length > STATE_NOTE_BYTES_MAX) {
      const limit = STATE_NOTE_BYTES_MAX
      const message = `Cannot install a note of ${note.length} bytes: the limit is ${limit}`
      throw new MeshError('too-large', message)
    }
    this.#hasEnded = true
    const { groupKey } = this.#host
    const record = {
      slot: this.#slot,
      pairCount: this.#pairCount,
      pairSum: this.#pairSum,
      note
    }
    this.#changes.push({ key: groupKey, value: encodeGroupRecord(groupKey, record) })
    await this.#host.finish(this.#changes, record)
  }

  async abort(): Promise<void> {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#changes = []
    this.#host.abort(this.#slot)
  }
}
