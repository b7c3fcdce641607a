// Stages of a job: which tasks may begin, and which never will.

import type { JobRecord, JobState, Stage, StageState } from './job-records.ts'

type Parts = Pick<JobRecord, 'stages'>
type Progress = { readonly stages: readonly StageState[] }

/** @returns the place of the stage that a task is of. */
export function stageOf({ stages }: Parts, task: number): number {
  let low = 0
  let high = stages.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if ((stages[middle] as Stage).from <= task) low = middle
    else high = middle - 1
  }
  return low
}

/** @returns whether all tasks of all stages before are done. Once that is so it stays so. */
export function isStageReady(job: Parts, progress: Progress, place: number): boolean {
  const { after } = job.stages[place] as Stage
  return after.every((at) => {
    const { from, to } = job.stages[at] as Stage
    return (progress.stages[at] as StageState).done === to - from
  })
}

/** @returns whether a task was granted at some time. */
export function wasGranted(job: Parts, progress: Progress, task: number): boolean {
  return task < (progress.stages[stageOf(job, task)] as StageState).cursor
}

/** @returns tasks that never were granted and may be now. */
export function freshCount(job: Parts, progress: Progress): number {
  return job.stages.reduce((sum, { to }, place) => {
    const left = to - (progress.stages[place] as StageState).cursor
    return left > 0 && isStageReady(job, progress, place) ? sum + left : sum
  }, 0)
}

/** @returns for each stage whether it never begins, because a task before it was given up. */
export function blockedStages(job: Parts, progress: Progress): readonly boolean[] {
  const blocked: boolean[] = []
  for (const { after } of job.stages) {
    const isBlocked = after.some(
      (at) => blocked[at] === true || (progress.stages[at] as StageState).failed > 0
    )
    blocked.push(isBlocked)
  }
  return blocked
}

/** @returns tasks that were given up, and those that wait for one for ever. */
export function failedCount(job: Parts, progress: Pick<JobState, 'stages'>): number {
  const blocked = blockedStages(job, progress)
  return job.stages.reduce((sum, { from, to }, place) => {
    const { failed } = progress.stages[place] as StageState
    return sum + (blocked[place] === true ? to - from : failed)
  }, 0)
}
