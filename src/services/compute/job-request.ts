// A job as it is asked for, and the parts that shards are given of it.

import { MeshError } from '../../base/errors.ts'
import type { Requirements } from '../../core/jobs/requirements.ts'
import type { JobPolicy } from '../../core/machine/job-policy.ts'
import type { Stage } from '../../core/machine/job-records.ts'
import { JOB_TASKS_MAX } from '../../core/machine/limits.ts'
import type { CodeRef, TaskLimits } from '../../wire/job.ts'
import { JOB_PARTS_MAX, type JobSpec, type StageSpec } from './spec.ts'

export type JobRequest = {
  readonly id: string
  readonly code: CodeRef
  /** What of the code is run. */
  readonly task: string
  readonly limits: TaskLimits
  readonly requirements: Requirements
  readonly policy: JobPolicy
  /** Of each task, encoded. */
  readonly inputs: readonly Uint8Array[]
  /** Missing: all tasks may begin at once. */
  readonly stages?: readonly (Stage & StageSpec)[] | undefined
}

/** A part of a request, as it is given to a shard. */
export type PartRequest = {
  readonly id: string
  readonly part: number
  readonly first: number
  readonly stages: readonly Stage[]
  readonly policy: JobPolicy
  /** Without its inputs. */
  readonly spec: Omit<JobSpec, 'manifest'>
  readonly inputs: readonly Uint8Array[]
}

/** @returns what each shard is given of a job @throws invalid-argument, too-large */
export function partsOfRequest(request: JobRequest): PartRequest[] {
  const { id, code, task, limits, requirements, policy, inputs, stages } = request
  const parts = Math.ceil(inputs.length / JOB_TASKS_MAX)
  if (parts > JOB_PARTS_MAX || (parts > 1 && stages !== undefined)) {
    const max = stages === undefined ? JOB_PARTS_MAX * JOB_TASKS_MAX : JOB_TASKS_MAX
    const problem = `${inputs.length} tasks; such a job has at most ${max}`
    throw new MeshError('too-large', `Cannot submit ${problem}: give each task more to do`)
  }
  const spec = {
    code,
    task,
    limits,
    requirements,
    ...(stages === undefined
      ? {}
      : {
          stages: stages.map(({ name, isOne, isByReference, run }) => {
            return { name, isOne, isByReference, run }
          })
        }),
    ...(parts > 1 ? { parts } : {})
  }
  return Array.from({ length: parts }, (_, part) => {
    const first = part * JOB_TASKS_MAX
    const own = inputs.slice(first, first + JOB_TASKS_MAX)
    const plain = stages?.map(({ from, to, after }) => ({ from, to, after }))
    const one = [{ from: 0, to: own.length, after: [] }]
    return { id, part, first, stages: plain ?? one, policy, spec, inputs: own }
  })
}
