// Reading the jobs of a shard, a page at a time; a page may be shorter than was asked for.

import { present } from '../../base/assert.ts'
import { concatBytes } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { bytes, decode, flag, list, optional, record, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import { medianMs } from './job-durations.ts'
import { checkPage, jobOf, jobSpaceCodec, readinessOf } from './job-queries.ts'
import type { Readiness } from './job-queries.ts'
import { jobPolicyCodec } from './job-policy.ts'
import {
  cid,
  jobCountsCodec,
  jobPhase,
  jobRecordCodec,
  specCodec,
  taskRecordCodec,
  worker
} from './job-records.ts'
import type { JobPolicy } from './job-policy.ts'
import type { JobCounts, JobPhase } from './job-records.ts'
import {
  ANSWER_BYTES_MAX,
  JOB_DENIED_MAX,
  JOB_PAGE_MAX,
  KEY_BYTES_MAX,
  RANGE_COUNT_MAX
} from './limits.ts'
import type { Query } from './query.ts'
import type { MachineReads } from './reads.ts'
import { spanOfKey } from './space.ts'
import { AREAS } from './state-keys.ts'
import type { Area } from './state-keys.ts'

/** Of a job on a page, besides what services keep with it: its name, its policy and numbers. */
const OVERHEAD_BYTES = 1_024

export type JobPageArgs = {
  /** The space of the last job of the page before. */
  readonly after: Uint8Array | undefined
  /** 1 to 256. */
  readonly limit: number
}

/** A job with tasks that may be granted now or later: what a worker wants to know to choose. */
export type OpenJob = Readiness & {
  readonly space: Uint8Array
  readonly first: number
  readonly count: number
  readonly manifest: Uint8Array
  readonly code: Uint8Array | undefined
  readonly spec: Uint8Array
  readonly policy: JobPolicy
  readonly createdMs: number
  readonly counts: JobCounts
  /** Of attempts whose result was taken; undefined while there is none. */
  readonly medianMs: number | undefined
  /** Workers that get none of its tasks. */
  readonly denied: readonly string[]
}

export type OpenJobsResult = {
  /** The shard's time. */
  readonly timeMs: number
  readonly jobs: readonly OpenJob[]
  /** Give it as `after` for what follows. */
  readonly next: Uint8Array | undefined
}

const jobPageArgs: Codec<JobPageArgs> = record<JobPageArgs>({
  after: optional(jobSpaceCodec),
  limit: uint
})

const openJobCodec: Codec<OpenJob> = record<OpenJob>({
  space: jobSpaceCodec,
  first: uint,
  count: uint,
  manifest: cid,
  code: optional(cid),
  spec: specCodec,
  policy: jobPolicyCodec,
  createdMs: uint,
  counts: jobCountsCodec,
  medianMs: optional(uint),
  denied: list(worker, JOB_DENIED_MAX),
  readyCount: uint,
  nextReadyMs: optional(uint)
})

/** The open jobs of a shard, by name. Refuses with invalid-argument. */
export const JOB_OPEN: Query<JobPageArgs, OpenJobsResult> = {
  name: 'job.open',
  version: 1,
  args: jobPageArgs,
  result: record<OpenJobsResult>({
    timeMs: uint,
    jobs: list(openJobCodec, JOB_PAGE_MAX),
    next: optional(jobSpaceCodec)
  }),
  read: (reads, args) => {
    const { spaces, hasMore } = pageOf(reads, AREAS['job-open'], args)
    const jobs: OpenJob[] = []
    let bytesLeft = ANSWER_BYTES_MAX
    for (const space of spaces) {
      const found = openJob(reads, space)
      const deniedBytes = found.denied.reduce((sum, name) => sum + name.length + 1, 0)
      bytesLeft -= found.spec.length + deniedBytes + OVERHEAD_BYTES
      if (bytesLeft < 0) break
      jobs.push(found)
    }
    const isWhole = jobs.length === spaces.length && !hasMore
    return { timeMs: reads.meta.timeMs, jobs, next: isWhole ? undefined : jobs.at(-1)?.space }
  }
}

/** A job as lists show it. */
export type JobSummary = {
  readonly space: Uint8Array
  readonly first: number
  readonly count: number
  readonly policy: JobPolicy
  readonly createdMs: number
  readonly phase: JobPhase
  readonly counts: JobCounts
  readonly endedMs: number | undefined
  readonly isRemoved: boolean
}

export type JobsResult = {
  /** The shard's time. */
  readonly timeMs: number
  readonly jobs: readonly JobSummary[]
  /** Give it as `after` for what follows. */
  readonly next: Uint8Array | undefined
}

const summaryCodec: Codec<JobSummary> = record<JobSummary>({
  space: jobSpaceCodec,
  first: uint,
  count: uint,
  policy: jobPolicyCodec,
  createdMs: uint,
  phase: jobPhase,
  counts: jobCountsCodec,
  endedMs: optional(uint),
  isRemoved: flag
})

/** All jobs of a shard, by name. Refuses with invalid-argument. */
export const JOB_LIST: Query<JobPageArgs, JobsResult> = {
  name: 'job.list',
  version: 1,
  args: jobPageArgs,
  result: record<JobsResult>({
    timeMs: uint,
    jobs: list(summaryCodec, JOB_PAGE_MAX),
    next: optional(jobSpaceCodec)
  }),
  read: (reads, args) => {
    const { spaces, hasMore } = pageOf(reads, AREAS['job-state'], args)
    const jobs = spaces.map((space): JobSummary => {
      const { job, state } = demand(reads, space)
      const { first, count, policy, createdMs } = job
      const { phase, counts, endedMs, isRemoved } = state
      return { space, first, count, policy, createdMs, phase, counts, endedMs, isRemoved }
    })
    const next = hasMore ? spaces.at(-1) : undefined
    return { timeMs: reads.meta.timeMs, jobs, next }
  }
}

export type JobBlocksArgs = {
  /** What the page before answered. */
  readonly after: Uint8Array | undefined
}

export type JobBlocksResult = {
  /** Names of blocks, some of them perhaps several times. */
  readonly blocks: readonly Uint8Array[]
  /** Give it as `after` for what follows. */
  readonly next: Uint8Array | undefined
}

/** Two areas are read one after the other; a position is an area and the last key that was read. */
const AREAS_WITH_BLOCKS: readonly Area[] = [AREAS.job, AREAS['job-task']]

/** All blocks that jobs of a shard name, for the collector. Refuses with invalid-argument. */
export const JOB_BLOCKS: Query<JobBlocksArgs, JobBlocksResult> = {
  name: 'job.blocks',
  version: 1,
  args: record<JobBlocksArgs>({ after: optional(bytes(KEY_BYTES_MAX + 1)) }),
  result: record<JobBlocksResult>({
    blocks: list(cid, 2 * RANGE_COUNT_MAX),
    next: optional(bytes(KEY_BYTES_MAX + 1))
  }),
  read: (reads, { after = Uint8Array.of(AREAS.job) }) => {
    const [area, ...key] = after
    if (area === undefined || !AREAS_WITH_BLOCKS.includes(area)) {
      throw new MeshError('invalid-argument', 'Cannot read blocks of jobs: no such position')
    }
    const from = key.length === 0 ? {} : { from: spanOfKey(Uint8Array.from(key)).to }
    const page = reads.scan({ area, ...from })
    const blocks = page.entries.flatMap(({ value }) => blocksOf(area, value))
    const last = page.entries.at(-1)
    if (page.next !== undefined && last !== undefined) {
      return { blocks, next: concatBytes([Uint8Array.of(area), last.key]) }
    }
    const isLast = area === AREAS_WITH_BLOCKS.at(-1)
    return { blocks, next: isLast ? undefined : Uint8Array.of(AREAS['job-task']) }
  }
}

function blocksOf(area: Area, value: Uint8Array): Uint8Array[] {
  if (area === AREAS.job) {
    const { manifest, code } = decode(jobRecordCodec, value)
    return [manifest, code ?? manifest.subarray(0, 0)].filter(({ length }) => length > 0)
  }
  const { result, logs } = decode(taskRecordCodec, value)
  const blocks = result?.kind === 'blocks' ? [result.cid] : []
  return logs === undefined ? blocks : [...blocks, logs]
}

function openJob(reads: MachineReads, space: Uint8Array): OpenJob {
  const found = demand(reads, space)
  const { first, count, manifest, code, spec, policy, createdMs } = found.job
  const { counts, durations, denied } = found.state
  return {
    ...readinessOf(reads, space, found),
    space,
    first,
    count,
    manifest,
    code,
    spec,
    policy,
    createdMs,
    counts,
    medianMs: medianMs(durations),
    denied
  }
}

function demand(reads: MachineReads, space: Uint8Array): NonNullable<ReturnType<typeof jobOf>> {
  return present(jobOf(reads, space), 'a job that is listed is there')
}

function pageOf(
  reads: MachineReads,
  area: Area,
  { after, limit }: JobPageArgs
): { spaces: Uint8Array[]; hasMore: boolean } {
  checkPage(limit)
  const from = after === undefined ? {} : { from: spanOfKey(after).to }
  const page = reads.scan({ area, ...from, limit })
  return { spaces: page.entries.map(({ key }) => key), hasMore: page.next !== undefined }
}
