// Takes a record's payload apart. Everything is compared with what is left before it is believed.

import { malformed } from '../../wire/proto.ts'
import { readU64 } from './record.ts'

export class PayloadReader {
  readonly bytes: Buffer
  offset = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get left(): number {
    return this.bytes.length - this.offset
  }

  byte(): number {
    this.#need(1)
    const value = this.bytes[this.offset] as number
    this.offset += 1
    return value
  }

  number(): number {
    this.#need(8)
    const value = readU64(this.bytes, this.offset)
    if (Number.isNaN(value)) throw malformed('log record', 'a number in it is too large')
    this.offset += 8
    return value
  }

  count(): number {
    this.#need(4)
    const value = this.bytes.readUInt32BE(this.offset)
    this.offset += 4
    return value
  }

  /** @returns a view. */
  part(bytesMax: number): Buffer {
    const length = this.count()
    if (length > bytesMax) {
      throw malformed('log record', `a part has ${length} bytes, and ${bytesMax} are the most`)
    }
    this.#need(length)
    this.offset += length
    return this.bytes.subarray(this.offset - length, this.offset)
  }

  #need(bytes: number): void {
    if (this.left < bytes) throw malformed('log record', 'it ends too early')
  }
}
