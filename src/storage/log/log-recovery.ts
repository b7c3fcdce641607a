// Opens a log that is there, or makes one: finds its segments, has them read, and cuts off what a
// crash left unfinished. (L-2, L-6)

import { randomBytes } from 'node:crypto'

import { MeshError, isMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { KIB } from '../../base/units.ts'
import { SegmentUse } from './entry-table.ts'
import type { GroupState } from './group-state.ts'
import type { LogFile, LogFolder } from './log-folder.ts'
import { LogScan } from './log-scan.ts'
import { RecordCodec } from './record.ts'
import {
  LOG_ID_BYTES,
  SEGMENT_BYTES_MAX,
  SEGMENT_START,
  decodeSegmentHead,
  encodeSegmentHead,
  segmentName,
  segmentNumber,
  type Segment,
  type SegmentHeader
} from './segment.ts'
import type { FoundLine } from './segment-line.ts'
import { isZero } from './segment-scan.ts'

export type RecoveredLog = {
  readonly codec: RecordCodec
  readonly logId: Uint8Array
  readonly line: FoundLine
  readonly states: Map<number, GroupState>
  readonly use: SegmentUse
  /** Of the last record. */
  readonly sequence: number
}

type Options = { readonly segmentBytes: number; readonly logger: Logger }

/** A segment's file, with what its header says. */
type Candidate = Segment & { readonly header: SegmentHeader | undefined }

/** Read at a time: what one unreadable place takes with it. */
const READ_BYTES: number = 64 * KIB

/** @throws corrupt, folder-too-new, disk-full, storage-failed; then no file is left open */
export async function recoverLog(folder: LogFolder, options: Options): Promise<RecoveredLog> {
  const names = (await folder.open()).filter((name) => segmentNumber(name) !== undefined)
  if (names.length === 0) return await createLog(folder, options)
  const candidates: Candidate[] = []
  try {
    for (const name of names.toSorted()) {
      candidates.push(describe(name, await folder.openFile(name), options.logger))
    }
    return await readLog(folder, candidates, options.logger)
  } catch (error) {
    for (const { file } of candidates) await file.close()
    throw error
  }
}

async function createLog(folder: LogFolder, { segmentBytes }: Options): Promise<RecoveredLog> {
  const logId = randomBytes(LOG_ID_BYTES)
  const header = { number: 1, size: segmentBytes, logId }
  const name = segmentName(1)
  const file = await folder.create(name, { head: encodeSegmentHead(header), size: segmentBytes })
  const segment = { number: 1, name, file, size: segmentBytes }
  return {
    codec: new RecordCodec(logId),
    logId,
    line: { segments: [segment], position: SEGMENT_START, next: undefined },
    states: new Map(),
    use: new SegmentUse(),
    sequence: 0
  }
}

function describe(name: string, file: LogFile, logger: Logger): Candidate {
  const number = segmentNumber(name) as number
  const header = decodeSegmentHead(readPart(file, { from: 0, to: SEGMENT_START }, logger))
  const isOwn = header?.number === number && header.size <= SEGMENT_BYTES_MAX
  const size = isOwn ? header.size : Math.min(file.size, SEGMENT_BYTES_MAX)
  return { number, name, file, size, header: isOwn ? header : undefined }
}

async function readLog(
  folder: LogFolder,
  candidates: readonly Candidate[],
  logger: Logger
): Promise<RecoveredLog> {
  const logId = candidates.find(({ header }) => header !== undefined)?.header?.logId
  if (logId === undefined) throw unreadable('no segment has a header that is intact')
  const codec = new RecordCodec(logId)
  const use = new SegmentUse()
  const scan = new LogScan(codec, use)
  const used = usedSegments(candidates, logger)
  let position = SEGMENT_START
  for (const [place, segment] of used.entries()) {
    const before = used[place - 1]?.number
    const isJoined = before === undefined || segment.number === before + 1
    const isWhole = isJoined && isOf(segment, logId)
    const { number } = segment
    const bytes = readSegment(segment, logger)
    position = scan.addSegment(bytes, { number, isFirst: place === 0, isWhole })
  }
  const cut = scan.finish()
  if (scan.lossCount > 0 && scan.states.size === 0) throw unreadable('none of its records are')
  const active = used.at(-1) as Candidate
  if (cut !== undefined) logger.warn('log.torn_tail_cut', cut)
  reportDamage(scan, logger)
  position = cut?.offset ?? Math.max(SEGMENT_START, position)
  await settleEnd(active, cut === undefined ? undefined : position)
  const next = await takeNext(folder, candidates.slice(used.length), active)
  const line = { segments: used, position, next }
  return { codec, logId, line, states: scan.states, use, sequence: scan.lastSequence }
}

/** @returns the segments without the empty ones at the end; the first one in any case. */
function usedSegments(candidates: readonly Candidate[], logger: Logger): Candidate[] {
  let count = candidates.length
  while (count > 1) {
    const last = candidates[count - 1] as Candidate
    if (!isZero(readSegment(last, logger).subarray(SEGMENT_START))) break
    count -= 1
  }
  return candidates.slice(0, count)
}

const isOf = ({ header }: Candidate, logId: Uint8Array): boolean =>
  header !== undefined && Buffer.compare(header.logId, logId) === 0

/** @returns its bytes; what is missing of a file that was cut is zero. */
function readSegment(segment: Segment, logger: Logger): Buffer {
  return readPart(segment.file, { from: 0, to: segment.size }, logger)
}

/** What can't be read is all ones: neither a record nor the zeros of an end. */
function readPart(
  file: LogFile,
  { from, to }: { from: number; to: number },
  logger: Logger
): Buffer {
  const bytes = Buffer.alloc(to - from)
  for (let offset = 0; offset < bytes.length; offset += READ_BYTES) {
    const part = bytes.subarray(offset, offset + READ_BYTES)
    try {
      file.read(part, from + offset)
    } catch (error) {
      if (!isMeshError(error)) throw error
      logger.error('log.unreadable', { offset: from + offset, reason: error.message })
      part.fill(0xff)
    }
  }
  return bytes
}

/**
 * Makes durable what the scan believed: an earlier process may have been killed before it had its
 * last batch synced. What follows it becomes zero first, so that no later reader takes it for the
 * beginning of something.
 */
async function settleEnd({ file, size }: Segment, zeroFrom: number | undefined): Promise<void> {
  const from = zeroFrom ?? Math.max(SEGMENT_START, Math.min(file.size, size))
  for (let offset = from; offset < size; offset += READ_BYTES) {
    await file.write(new Uint8Array(Math.min(READ_BYTES, size - offset)), offset)
  }
  await file.sync()
}

/** @returns an empty segment to go on with, if the first of them is fit for it; removes the others. */
async function takeNext(
  folder: LogFolder,
  empty: readonly Candidate[],
  active: Candidate
): Promise<Segment | undefined> {
  const [first] = empty
  const isFit =
    first?.number === active.number + 1 &&
    first.header !== undefined &&
    active.header !== undefined &&
    isOf(first, active.header.logId) &&
    first.file.size === first.size
  const others = isFit ? empty.slice(1) : empty
  for (const segment of others.toReversed()) {
    await segment.file.close()
    await folder.remove(segment.name)
  }
  return isFit ? first : undefined
}

function reportDamage(scan: LogScan, logger: Logger): void {
  const damaged = [...scan.states.values()].filter(({ damage }) => damage !== undefined)
  if (scan.lossCount === 0 && damaged.length === 0) return
  const groups = damaged.map(({ id }) => id).join(' ')
  logger.error('log.damaged', { losses: scan.lossCount, groups })
}

function unreadable(why: string): MeshError {
  return new MeshError(
    'corrupt',
    `Cannot read the log: ${why}; move it away and rebuild this node's replicas from their peers`
  )
}
