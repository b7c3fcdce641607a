// Group commit: what waits when a sync ends is written together and synced together. (L-5, L-9, L-10)

import { MeshError, isMeshError } from '../../base/errors.ts'
import { KIB, MIB } from '../../base/units.ts'
import type { RecordPlace } from './entry-table.ts'
import { encodeCatalog, type CatalogLine } from './catalog.ts'
import { RECORD_HEADER_BYTES, type RecordCodec, type RecordDraft } from './record.ts'
import type { SegmentLine } from './segment-line.ts'
import type { RecordPart } from './write-parts.ts'

/** Records of one sync, about. More would make those at its front wait for those at its end. */
const BATCH_BYTES_MAX: number = 4 * MIB
/** Kept at the end of the last segment when no other can be made, for writes that make room. */
const RELIEF_BYTES_MAX: number = 256 * KIB
const RELIEF_DIVISOR = 8

/** What its owner does for it. */
export type LogWriterHost = {
  /** The sequence of a group's last record; 0 when it has none. */
  lastOf(group: number): number
  catalog(): CatalogLine[]
  /** Records that are to be written before those that wait; none when that is of no use now. */
  takeCopies(): RecordPart[]
  /** A record is durable. */
  onDurable(part: RecordPart, stored: { place: RecordPlace; sequence: number }): void
  /** All records of a sync are durable, and those who waited for them were told. */
  onSynced(): void
  /** There is no room for copies now. */
  onCopiesRefused(): void
  /** Everything that waited was refused. */
  onRefused(): void
}

type Ticket = {
  remaining: number
  readonly acceptedMs: number
  readonly resolve: () => void
  readonly reject: (error: MeshError) => void
}

type Waiting = { readonly part: RecordPart; readonly ticket: Ticket | undefined }

export class LogWriter {
  readonly #line: SegmentLine
  readonly #codec: RecordCodec
  readonly #host: LogWriterHost
  #queue: Waiting[] = []
  #queuedBytes = 0
  /** Being written. */
  #batch: readonly Waiting[] = []
  #sequence: number
  #failure: MeshError | undefined
  #running: Promise<void> | undefined

  /** @param sequence of the last record of the log */
  constructor(
    components: { line: SegmentLine; codec: RecordCodec; host: LogWriterHost },
    sequence: number
  ) {
    this.#line = components.line
    this.#codec = components.codec
    this.#host = components.host
    this.#sequence = sequence
  }

  get failure(): MeshError | undefined {
    return this.#failure
  }

  /** Bytes that wait, or are being written. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  pendingSinceMs(): number | undefined {
    return (this.#batch.find(hasTicket) ?? this.#queue.find(hasTicket))?.ticket?.acceptedMs
  }

  /** @param parts of one write, at least one. @throws disk-full, storage-failed */
  write(parts: readonly RecordPart[], acceptedMs: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      const ticket = { remaining: parts.length, acceptedMs, resolve, reject }
      for (const part of parts) {
        this.#queue.push({ part, ticket })
        this.#queuedBytes += sizeOf(part)
      }
      this.wake()
    })
  }

  /** The disk failed elsewhere in the log. */
  stop(cause: MeshError): void {
    if (this.#failure === undefined) this.#fail(cause)
  }

  /** Has it look for copies to write, when nobody else makes it write. */
  wake(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      if (this.#queue.length > 0 && this.#failure === undefined) this.wake()
    })
  }

  /**
   * Waits for what is under way, then writes down that all of it was synced: a record that is found
   * bad after that was damaged, and isn't taken for one that a crash cut off. (L-6)
   */
  async close(): Promise<void> {
    while (this.#running !== undefined) await this.#running
    if (this.#failure !== undefined) return
    const draft = this.#catalogDraft(this.#sequence + 1)
    if (this.#line.room < RECORD_HEADER_BYTES + draft.payload.length) return
    try {
      await this.#append([draft])
    } catch (error) {
      if (!isMeshError(error)) throw error
      this.#fail(error)
    }
  }

  async #run(): Promise<void> {
    // Lets those who write in the same turn join the first batch.
    await Promise.resolve()
    while (this.#failure === undefined) {
      const copies = await this.#takeCopies()
      const first = copies[0] ?? this.#queue[0]
      if (first === undefined) return
      const refusal = await this.#makeRoom(first.part)
      if (refusal === undefined) await this.#writeBatch(copies)
      else if (refusal.code === 'storage-failed') this.#fail(refusal)
      else this.#refuse(refusal)
    }
  }

  async #takeCopies(): Promise<Waiting[]> {
    const parts = this.#host.takeCopies()
    const refusal = parts[0] && (await this.#makeRoom(parts[0]))
    if (refusal === undefined) return parts.map((part) => ({ part, ticket: undefined }))
    this.#host.onCopiesRefused()
    return []
  }

  /** @returns why there is no room for a record; undefined when there is. */
  async #makeRoom(part: RecordPart): Promise<MeshError | undefined> {
    if (this.#fits(part)) return undefined
    const refusal = await this.#line.prepareNow()
    if (refusal === undefined) {
      // With another segment there, the reserve of this one may be used.
      if (!this.#fits(part)) this.#line.roll()
      return undefined
    }
    return refusal
  }

  /** Would a record fit, after `used` bytes of others? */
  #fits(part: RecordPart, used = 0): boolean {
    const catalog = this.#line.isFresh ? this.#catalogBytes() : 0
    const isReserved = !part.isRelief && !this.#line.hasNext
    const reserve = Math.min(RELIEF_BYTES_MAX, Math.floor(this.#line.active.size / RELIEF_DIVISOR))
    return sizeOf(part) + used + catalog + (isReserved ? reserve : 0) <= this.#line.room
  }

  #catalogBytes(): number {
    return RECORD_HEADER_BYTES + encodeCatalog(this.#host.catalog()).length
  }

  async #writeBatch(copies: readonly Waiting[]): Promise<void> {
    const batch: Waiting[] = []
    let bytes = 0
    const take = (waiting: Waiting): boolean => {
      if (bytes > 0 && bytes + sizeOf(waiting.part) > BATCH_BYTES_MAX) return false
      if (!this.#fits(waiting.part, bytes)) return false
      bytes += sizeOf(waiting.part)
      batch.push(waiting)
      return true
    }
    // Copies say what the groups are now, so they go before what changes them.
    if (copies.every(take)) {
      const taken = this.#queue.findIndex((waiting) => !take(waiting))
      this.#queue.splice(0, taken === -1 ? this.#queue.length : taken)
    }
    this.#batch = batch
    try {
      const places = await this.#append(this.#drafts(batch))
      this.#settle(places)
    } catch (error) {
      if (!isMeshError(error)) throw error
      this.#fail(error)
    }
  }

  #drafts(batch: readonly Waiting[]): RecordDraft[] {
    let sequence = this.#sequence + 1
    const number = sequence
    const drafts: RecordDraft[] = []
    if (this.#line.isFresh) {
      drafts.push(this.#catalogDraft(sequence))
      sequence += 1
    }
    const lastOf = new Map<number, number>()
    for (const { part } of batch) {
      const { kind, group, payload } = part
      const previous = lastOf.get(group) ?? this.#host.lastOf(group)
      drafts.push({ kind, sequence, batch: number, group, previous, payload })
      lastOf.set(group, sequence)
      sequence += 1
    }
    return drafts
  }

  #catalogDraft(sequence: number): RecordDraft {
    const payload = encodeCatalog(this.#host.catalog())
    return { kind: 'catalog', sequence, batch: sequence, group: 0, previous: 0, payload }
  }

  /** Writes records in one go. @returns their places, and sequences */
  async #append(
    drafts: readonly RecordDraft[]
  ): Promise<{ place: RecordPlace; sequence: number; draft: RecordDraft }[]> {
    let length = 0
    for (const { payload } of drafts) length += RECORD_HEADER_BYTES + payload.length
    const bytes = Buffer.allocUnsafe(length)
    const offsets: number[] = []
    let offset = 0
    for (const draft of drafts) {
      offsets.push(offset)
      offset = this.#codec.write(bytes, offset, draft)
    }
    const start = await this.#line.append(bytes)
    this.#sequence += drafts.length
    return drafts.map((draft, position) => ({
      draft,
      sequence: draft.sequence,
      place: { segment: start.segment, offset: start.offset + (offsets[position] as number) }
    }))
  }

  #settle(places: readonly { place: RecordPlace; sequence: number; draft: RecordDraft }[]): void {
    const batch = this.#batch
    this.#batch = []
    const records = places.filter(({ draft }) => draft.kind !== 'catalog')
    for (const [position, { part }] of batch.entries()) {
      this.#queuedBytes -= batch[position]?.ticket === undefined ? 0 : sizeOf(part)
      this.#host.onDurable(part, records[position] as (typeof records)[number])
    }
    for (const { ticket } of batch) {
      if (ticket === undefined) continue
      ticket.remaining -= 1
      if (ticket.remaining === 0) ticket.resolve()
    }
    this.#host.onSynced()
  }

  /** There is no room: what waits is refused, and the log stays as it is. */
  #refuse(refusal: MeshError): void {
    const waiting = this.#queue
    this.#queue = []
    this.#queuedBytes = 0
    this.#host.onRefused()
    for (const { ticket } of waiting) ticket?.reject(refusal)
  }

  /**
   * What the disk holds of the last batch is unknown, and asking again wouldn't tell: a sync that
   * failed may have dropped the bytes, and the next one would succeed without them. (L-10)
   */
  #fail(cause: MeshError): void {
    if (this.#failure !== undefined) return
    const message = `Cannot write the log: ${cause.message}; the log takes no more writes`
    const isStopped = cause.code === 'stopped'
    const failure = isStopped ? cause : new MeshError('storage-failed', message, { cause })
    this.#failure = failure
    const waiting = [...this.#batch, ...this.#queue]
    this.#batch = []
    this.#queue = []
    this.#queuedBytes = 0
    for (const { ticket } of waiting) ticket?.reject(failure)
  }
}

function sizeOf({ payload }: RecordPart): number {
  return RECORD_HEADER_BYTES + payload.length
}

const hasTicket = ({ ticket }: Waiting): boolean => ticket !== undefined
