// What a node has to know of an open job to take tasks of it.

import { fromUtf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import type { JobNews } from '../../core/jobs/board.ts'
import { parseJobSpace } from '../../core/machine/job-names.ts'
import type { JobPolicy } from '../../core/machine/job-policy.ts'
import type { JobCounts, Stage } from '../../core/machine/job-records.ts'
import { decodeSpec, type JobSpec } from './spec.ts'

/** A second attempt of what is slow is welcome when so little of a job is left: one part in … */
const LEFT_ONE_IN = 4

export type KnownJob = {
  /** The space, as text. */
  readonly name: string
  readonly id: string
  readonly space: Uint8Array
  readonly spec: JobSpec
  readonly policy: JobPolicy
  readonly count: number
  readonly stages: readonly Stage[]
  /** Of a task. */
  readonly medianMs: number | undefined
  /** When it was last asked. */
  readonly counts: JobCounts
  /** The job knows this node as unfit. */
  readonly isDenied: boolean
}

/** A job as its shard shows it. */
export type FoundJob = Pick<KnownJob, 'policy' | 'stages' | 'medianMs' | 'counts' | 'count'> & {
  readonly space: Uint8Array
  readonly spec: Uint8Array
  readonly denied: readonly string[]
}

/** @param about.spec where it was read before @throws invalid-data */
export function knownJob(
  { space, spec, denied, ...found }: FoundJob,
  about: { readonly self: string; readonly spec: JobSpec | undefined }
): KnownJob {
  const id = parseJobSpace(space)?.id
  if (id === undefined) throw new MeshError('invalid-data', 'That is no name of a job')
  const { policy, stages, medianMs, counts, count } = found
  return {
    name: fromUtf8(space),
    id,
    space: space.slice(),
    spec: about.spec ?? decodeSpec(spec),
    policy,
    count,
    stages,
    medianMs,
    counts,
    isDenied: denied.includes(about.self)
  }
}

/** @returns how many tasks of a job that is new may be had */
export function readyOf({ stages }: Pick<KnownJob, 'stages'>): number {
  return stages.reduce((sum, { from, to, after }) => sum + (after.length === 0 ? to - from : 0), 0)
}

/** What the board is told of it. */
export function newsOf(
  { name, policy, count, counts }: KnownJob,
  { readyCount, nextReadyMs, ageMs }: Pick<JobNews, 'readyCount' | 'nextReadyMs' | 'ageMs'>
): JobNews {
  const { done, failed, running } = counts
  const isNearlyDone = running > 0 && LEFT_ONE_IN * (count - done - failed) <= count
  const mayNeedHelp = policy.isPure && readyCount === 0 && isNearlyDone
  return { name, readyCount, nextReadyMs, mayNeedHelp, progress: done + failed + running, ageMs }
}
