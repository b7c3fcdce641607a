// The log store, on any folder of files.

import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { KIB, MIB } from '../../base/units.ts'
import type { GroupLog, GroupWrite, LogGroupId, LogStore, LogUsage } from '../log-store.ts'
import { EntryReader } from './entry-reader.ts'
import { GroupState } from './group-state.ts'
import type { LogFolder } from './log-folder.ts'
import { recoverLog, type RecoveredLog } from './log-recovery.ts'
import { LogWriter, type LogWriterHost } from './log-writer.ts'
import { Reclaimer } from './reclaimer.ts'
import { SegmentLine } from './segment-line.ts'
import { SEGMENT_BYTES_MAX, SEGMENT_START } from './segment.ts'
import { StoredGroupLog } from './stored-group-log.ts'
import { WriteCheck } from './write-check.ts'
import { splitWrite } from './write-parts.ts'

/** A segment: large enough that making one is rare, small enough to be read at once. */
const SEGMENT_BYTES: number = 16 * MIB
const SEGMENT_BYTES_MIN: number = 32 * KIB
/** Entries in one record, unless one alone is longer. */
const CHUNK_BYTES_MAX: number = 2 * MIB
/** A chunk is at most this part of a segment, so that it fits with all that goes with it. */
const CHUNK_DIVISOR = 4
const CACHE_BYTES: number = 16 * MIB
const PENDING_BYTES_MAX: number = 64 * MIB
const SEGMENT_COUNT_MAX = 16

export type LogStoreComponents = { clock: Clock; logger: Logger }

export type LogStoreOptions = {
  /** Bytes of a new segment, 32 KiB to 64 MiB; 16 MiB unless given. */
  readonly segmentBytes?: number
  /** Bytes of the newest entries held in memory; 16 MiB unless given. */
  readonly cacheBytes?: number
  /** Bytes that may wait for the disk before writes are refused; 64 MiB unless given. */
  readonly pendingBytesMax?: number
  /**
   * Full segments that entries in the oldest may hold up before they are copied to the end; 16
   * unless given.
   */
  readonly segmentCountMax?: number
}

/** What there is while the store is open. */
type Parts = {
  readonly states: Map<LogGroupId, GroupState>
  readonly line: SegmentLine
  readonly writer: LogWriter
  readonly reader: EntryReader
  readonly reclaimer: Reclaimer
  readonly check: WriteCheck
}

export class SegmentedLogStore implements LogStore {
  readonly #components: LogStoreComponents & { folder: LogFolder }
  readonly #options: Required<LogStoreOptions>
  readonly #chunkBytesMax: number
  readonly #logs = new Map<LogGroupId, StoredGroupLog>()
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #parts: Parts | undefined
  #isPreparing = false
  #lacksNext = false

  constructor(
    components: LogStoreComponents & { folder: LogFolder },
    options: LogStoreOptions = {}
  ) {
    const {
      segmentBytes = SEGMENT_BYTES,
      cacheBytes = CACHE_BYTES,
      pendingBytesMax = PENDING_BYTES_MAX,
      segmentCountMax = SEGMENT_COUNT_MAX
    } = options
    assert(segmentBytes >= SEGMENT_BYTES_MIN, 'a segment has room for records')
    assert(segmentBytes <= SEGMENT_BYTES_MAX, 'a segment is not too large to be read')
    this.#components = components
    this.#options = { segmentBytes, cacheBytes, pendingBytesMax, segmentCountMax }
    const chunkRoom = Math.floor((segmentBytes - SEGMENT_START) / CHUNK_DIVISOR)
    this.#chunkBytesMax = Math.min(CHUNK_BYTES_MAX, chunkRoom)
  }

  open(): Promise<void> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  groups(): LogGroupId[] {
    return [...(this.#parts?.states.keys() ?? [])].toSorted((a, b) => a - b)
  }

  group(id: LogGroupId): GroupLog {
    const known = this.#logs.get(id)
    if (known !== undefined) return known
    const log = new StoredGroupLog(id, {
      stateOf: (group) => this.#parts?.states.get(group),
      reader: () => this.#parts?.reader
    })
    this.#logs.set(id, log)
    return log
  }

  async write(batch: readonly GroupWrite[]): Promise<void> {
    const parts = this.#parts
    if (parts === undefined || this.#closing !== undefined) throw stopped()
    const { writer, check, reclaimer } = parts
    if (writer.failure !== undefined) throw writer.failure
    this.#admit(writer)
    const chunkBytesMax = this.#chunkBytesMax
    const records = check.accept(batch, (write, commit) =>
      splitWrite(write, { chunkBytesMax, commit })
    )
    if (records.length === 0) return
    reclaimer.resume()
    await writer.write(records, this.#components.clock.monotonicMs())
  }

  pendingSinceMs(): number | undefined {
    return this.#parts?.writer.pendingSinceMs()
  }

  failure(): MeshError | undefined {
    return this.#parts?.writer.failure
  }

  usage(): LogUsage {
    return this.#parts?.line.usage() ?? { segmentCount: 0, bytes: 0 }
  }

  async #open(): Promise<void> {
    const { folder, logger } = this.#components
    const { segmentBytes } = this.#options
    const found = await recoverLog(folder, { segmentBytes, logger })
    const { writer, line } = this.#assemble(found)
    const { segmentCount, bytes } = line.usage()
    logger.info('log.opened', { groups: found.states.size, segmentCount, bytes })
    this.#prepareNext()
    writer.wake()
  }

  #assemble(found: RecoveredLog): Parts {
    const { folder, logger } = this.#components
    const { segmentBytes, cacheBytes, segmentCountMax } = this.#options
    const { codec, logId, states, use } = found
    const line = new SegmentLine({ folder, codec }, { segmentBytes, logId })
    line.resume(found.line)
    const reader = new EntryReader(line, cacheBytes)
    const reclaimer = new Reclaimer(
      {
        line,
        use,
        reader,
        states,
        logger,
        onFailure: (failure) => this.#parts?.writer.stop(failure)
      },
      { segmentCountMax, chunkBytesMax: this.#chunkBytesMax }
    )
    const check = new WriteCheck((id) => states.get(id), states.keys())
    const host = this.#writerHost({ states, use, reader, reclaimer, check })
    const writer = new LogWriter({ line, codec, host }, found.sequence)
    this.#parts = { states, line, writer, reader, reclaimer, check }
    return this.#parts
  }

  #writerHost(
    parts: Omit<Parts, 'line' | 'writer'> & { readonly use: RecoveredLog['use'] }
  ): LogWriterHost {
    const { states, use, reader, reclaimer, check } = parts
    return {
      lastOf: (group) => states.get(group)?.lastSequence ?? 0,
      catalog: () =>
        Array.from(states.values(), ({ id, lastSequence, damage }) => ({
          group: id,
          last: lastSequence,
          isDamaged: damage !== undefined
        })),
      takeCopies: () => reclaimer.takeCopies(),
      onDurable: ({ kind, group, update, entries }, { place, sequence }) => {
        const known = states.get(group)
        const state = known ?? new GroupState(group, { use, isNew: true })
        if (known === undefined) states.set(group, state)
        state.apply({ ...place, kind, update, sequence })
        reader.hold(place, entries)
      },
      onSynced: () => {
        this.#prepareNext()
        reclaimer.removeDead(() => this.#onRemoved())
      },
      onCopiesRefused: () => reclaimer.pause(),
      onRefused: () => check.forget()
    }
  }

  /** So that going on to it holds nobody up. Where that fails, a write that needs it tells. */
  #prepareNext(): void {
    const { line, writer } = this.#parts as Parts
    if (line.hasNext || writer.failure !== undefined || this.#closing !== undefined) return
    if (this.#isPreparing) return
    this.#isPreparing = true
    void this.#prepare(line, writer)
  }

  async #prepare(line: SegmentLine, writer: LogWriter): Promise<void> {
    const refusal = await line.prepare()
    this.#isPreparing = false
    if (refusal?.code === 'storage-failed') writer.stop(refusal)
    const { logger } = this.#components
    // Once, not with every write while the disk is full.
    if (refusal !== undefined && !this.#lacksNext) {
      logger.warn('log.no_next_segment', { reason: refusal.message })
    }
    this.#lacksNext = refusal !== undefined
  }

  #onRemoved(): void {
    if (this.#closing !== undefined) return
    this.#prepareNext()
    this.#parts?.writer.wake()
  }

  /** @throws overloaded */
  #admit(writer: LogWriter): void {
    const { queuedBytes } = writer
    if (queuedBytes < this.#options.pendingBytesMax) return
    throw new MeshError(
      'overloaded',
      `Cannot write to the log now: ${queuedBytes} bytes wait for the disk; try again later`
    )
  }

  async #close(): Promise<void> {
    await this.#opening?.catch(() => undefined)
    if (this.#parts !== undefined) {
      const { writer, reclaimer, line } = this.#parts
      await writer.close()
      await reclaimer.close()
      await line.close()
    }
    await this.#components.folder.close()
  }
}

function stopped(): MeshError {
  return new MeshError('stopped', 'Cannot write to the log: it is not open')
}
