// A key with its value, as callers get it.

import { fromUtf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { shown } from '../../core/machine/space.ts'
import type { Entry } from '../../core/machine/records.ts'

const lenient = new TextDecoder()

export class KvEntry {
  readonly keyBytes: Uint8Array
  readonly value: Uint8Array
  /** Of the shard: the change that wrote this value. */
  readonly revision: number
  /** The change that made the key, since it was last deleted. */
  readonly createRevision: number
  /** 1 when made, one more with each put. */
  readonly version: number
  /** The id of the lease that the key goes with; 0 for none. */
  readonly lease: number

  constructor({ key, value, modRevision, createRevision, version, lease }: Entry) {
    // Copies: what was received may be a small part of a long array.
    this.keyBytes = new Uint8Array(key)
    this.value = new Uint8Array(value)
    this.revision = modRevision
    this.createRevision = createRevision
    this.version = version
    this.lease = lease
  }

  /** What isn't UTF-8 in it is shown as U+FFFD; {@link keyBytes} is exact. */
  get key(): string {
    return lenient.decode(this.keyBytes)
  }

  /** @throws invalid-data when the value isn't UTF-8 */
  text(): string {
    try {
      return fromUtf8(this.value)
    } catch (error) {
      const problem = `the value of "${shown(this.keyBytes)}" is not UTF-8; use its bytes`
      throw new MeshError('invalid-data', `Cannot give a text: ${problem}`, { cause: error })
    }
  }
}

export function entryOf(entry: Entry | undefined): KvEntry | undefined {
  return entry === undefined ? undefined : new KvEntry(entry)
}
