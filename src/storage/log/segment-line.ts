// The segments of a log in a row: the oldest at the head, the one that is written to, and an empty
// one that is prepared ahead, so that going on to it costs nothing. (L-1, L-9)
//
// Segments are filled with zeros when they are made. A write that only overwrites needs no new room
// and no change of the file's size: it can't find the disk full, and its sync is about a third
// faster than one of an append. They aren't used again, so what is no record is zero.

import { MeshError, isMeshError, toMeshError } from '../../base/errors.ts'
import type { RecordPlace } from './entry-table.ts'
import type { LogFolder } from './log-folder.ts'
import type { RecordCodec, RecordHeader } from './record.ts'
import { RECORD_HEADER_BYTES } from './record.ts'
import { SEGMENT_START, encodeSegmentHead, segmentName, type Segment } from './segment.ts'

export type SegmentLineOptions = {
  readonly segmentBytes: number
  readonly logId: Uint8Array
}

export type FoundLine = {
  /** Ascending numbers, the one to go on with last. */
  readonly segments: readonly Segment[]
  /** Bytes from its beginning to go on at. */
  readonly position: number
  /** An empty one, of the next number. */
  readonly next: Segment | undefined
}

export type RecordBytes = { readonly header: RecordHeader; readonly payload: Buffer }

export class SegmentLine {
  readonly #folder: LogFolder
  readonly #codec: RecordCodec
  readonly #options: SegmentLineOptions
  /** Ascending numbers without a gap, the one that is written to last. */
  readonly #segments: Segment[] = []
  /** The next record goes here, bytes from the beginning of the last segment. */
  #position = SEGMENT_START
  #next: Segment | undefined
  #preparing: Promise<MeshError | undefined> | undefined
  /** One at a time: after a power cut no segment may be missing between two others. */
  #removing: Promise<void> | undefined

  constructor(components: { folder: LogFolder; codec: RecordCodec }, options: SegmentLineOptions) {
    this.#folder = components.folder
    this.#codec = components.codec
    this.#options = options
  }

  /** Goes on where a log that was read back ends. */
  resume(found: FoundLine): void {
    this.#segments.push(...found.segments)
    this.#position = found.position
    this.#next = found.next
  }

  get active(): Segment {
    return this.#segments.at(-1) as Segment
  }

  /** The oldest segment; undefined when it is the one that is written to. */
  get closedHead(): Segment | undefined {
    return this.#segments.length > 1 ? this.#segments[0] : undefined
  }

  get closed(): readonly Segment[] {
    return this.#segments.slice(0, -1)
  }

  get hasNext(): boolean {
    return this.#next !== undefined
  }

  /** Bytes of records that still fit the segment that is written to. */
  get room(): number {
    return this.active.size - this.#position
  }

  /** Is there no record yet in the segment that is written to? */
  get isFresh(): boolean {
    return this.#position === SEGMENT_START
  }

  usage(): { segmentCount: number; bytes: number } {
    const all = this.#next === undefined ? this.#segments : [...this.#segments, this.#next]
    return { segmentCount: all.length, bytes: all.reduce((sum, { size }) => sum + size, 0) }
  }

  /** @returns where the bytes begin. They must fit {@link room}. @throws storage-failed */
  async append(bytes: Uint8Array): Promise<RecordPlace> {
    const { number, file } = this.active
    const place = { segment: number, offset: this.#position }
    await file.write(bytes, this.#position)
    this.#position += bytes.length
    return place
  }

  /**
   * Makes the next segment unless it is there. Calls at one time share the work.
   * @returns why it couldn't be made; undefined when it is there
   */
  prepare(): Promise<MeshError | undefined> {
    this.#preparing ??= this.#prepare().finally(() => {
      this.#preparing = undefined
    })
    return this.#preparing
  }

  /** As `prepare`, but doesn't take an answer from a disk that was full a while ago. */
  async prepareNow(): Promise<MeshError | undefined> {
    await this.#preparing
    return await this.prepare()
  }

  /** Goes on to the next segment, which must be there. */
  roll(): void {
    this.#segments.push(this.#next as Segment)
    this.#next = undefined
    this.#position = SEGMENT_START
  }

  /** Removes the oldest segment, which nothing needs any more. @throws disk-full, storage-failed */
  async removeHead(): Promise<void> {
    const head = this.#segments.shift() as Segment
    this.#removing = this.#remove(head)
    try {
      await this.#removing
    } finally {
      this.#removing = undefined
    }
  }

  /**
   * Reads a record and checks it, as if it were seen for the first time.
   * @throws corrupt
   * @throws storage-failed
   */
  read(place: RecordPlace): RecordBytes {
    const segment = this.#segments.find(({ number }) => number === place.segment)
    const header = segment && this.#readHeader(segment, place.offset)
    if (segment === undefined || header === undefined) throw damaged(place)
    const payload = Buffer.allocUnsafeSlow(header.length)
    const count = segment.file.read(payload, place.offset + RECORD_HEADER_BYTES)
    if (count < payload.length || !this.#codec.isPayloadIntact(header, payload)) {
      throw damaged(place)
    }
    return { header, payload }
  }

  async close(): Promise<void> {
    await this.#preparing
    await this.#removing?.catch(() => undefined)
    for (const { file } of this.#segments) await file.close()
    await this.#next?.file.close()
  }

  #readHeader(segment: Segment, offset: number): RecordHeader | undefined {
    const bytes = Buffer.allocUnsafe(RECORD_HEADER_BYTES)
    if (segment.file.read(bytes, offset) < bytes.length) return undefined
    const header = this.#codec.readHeader(bytes, 0)
    if (header === undefined) return undefined
    return offset + RECORD_HEADER_BYTES + header.length <= segment.size ? header : undefined
  }

  async #prepare(): Promise<MeshError | undefined> {
    if (this.#next !== undefined) return undefined
    const { segmentBytes: size, logId } = this.#options
    const number = this.active.number + 1
    const name = segmentName(number)
    try {
      const file = await this.#folder.create(name, {
        head: encodeSegmentHead({ number, size, logId }),
        size
      })
      this.#next = { number, name, file, size }
      return undefined
    } catch (error) {
      if (!isMeshError(error)) throw error
      return toMeshError(error)
    }
  }

  async #remove(segment: Segment): Promise<void> {
    try {
      await this.#folder.remove(segment.name)
    } catch (error) {
      // It is still there, and still the oldest.
      this.#segments.unshift(segment)
      throw error
    }
    await segment.file.close()
  }
}

function damaged({ segment, offset }: RecordPlace): MeshError {
  return new MeshError(
    'corrupt',
    `The record at byte ${offset} of ${segmentName(segment)} is damaged; check the disk`
  )
}
