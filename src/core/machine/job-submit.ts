// Making a job.

import { equalBytes } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { DAY_MS } from '../../base/units.ts'
import { decode, encode } from './codec.ts'
import { checkCycle } from './file-collection.ts'
import { JOB_SUBMIT } from './job-calls.ts'
import type { SubmitArgs, SubmitResult } from './job-calls.ts'
import { addJobCount, readJobCount } from './job-count.ts'
import { checkJobSpace, parseJobSpace } from './job-names.ts'
import { jobRecordCodec, jobStateCodec } from './job-records.ts'
import type { JobPolicy } from './job-policy.ts'
import type { JobState, Stage } from './job-records.ts'
import {
  JOBS_MAX,
  JOB_LOSSES_MAX,
  JOB_PRIORITY_MAX,
  JOB_RETRIES_MAX,
  JOB_STAGE_EDGES_MAX,
  JOB_TASKS_MAX
} from './limits.ts'
import type { Operation } from './operation.ts'
import { AREAS } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

/** So that what is added to the shard's time stays a number that can be stored. */
const DURATION_MS_MAX: number = 3_650 * DAY_MS
const NO_BYTES = new Uint8Array(0)

export const SUBMIT_JOB: Operation<SubmitArgs, SubmitResult> = {
  ...JOB_SUBMIT,
  apply: (transaction, { cycle, ...asked }) => {
    const { space, timeMs } = transaction
    checkJobSpace(space)
    checkTasks(asked)
    checkPolicy(asked.policy)
    const known = transaction.get(AREAS.job, space)
    if (known !== undefined) return attach(transaction, asked, known.value)
    if (readJobCount(transaction.state) >= JOBS_MAX) {
      const problem = `its shard has ${JOBS_MAX} jobs; remove some that have ended`
      throw new MeshError('overloaded', `Cannot submit a job: ${problem}`)
    }
    if (cycle !== undefined) checkCycle(transaction, cycle)
    const stages = asked.stages.map(({ from }) => ({ cursor: from, done: 0, failed: 0 }))
    const state: JobState = {
      phase: 'open',
      stages,
      attempts: 0,
      counts: { done: 0, failed: 0, running: 0, waiting: 0 },
      durations: [],
      speculated: 0,
      endedMs: undefined,
      denied: [],
      isRemoved: false
    }
    const value = encode(jobRecordCodec, { ...asked, createdMs: timeMs })
    transaction.put(AREAS.job, space, { value })
    transaction.put(AREAS['job-state'], space, { value: encode(jobStateCodec, state) })
    transaction.put(AREAS['job-open'], space, { value: NO_BYTES })
    addJobCount(transaction, 1)
    return { isNew: true, phase: 'open' }
  }
}

/** @throws exists, conflict */
function attach(
  transaction: Transaction,
  asked: Omit<SubmitArgs, 'cycle'>,
  known: Uint8Array
): SubmitResult {
  const { space } = transaction
  const { createdMs } = decode(jobRecordCodec, known)
  const id = parseJobSpace(space)?.id
  if (!equalBytes(encode(jobRecordCodec, { ...asked, createdMs }), known)) {
    const problem = `there is another job "${id}"; take another name, or remove it first`
    throw new MeshError('exists', `Cannot submit a job: ${problem}`)
  }
  const state = transaction.get(AREAS['job-state'], space)?.value as Uint8Array
  const { phase, isRemoved } = decode(jobStateCodec, state)
  if (!isRemoved) return { isNew: false, phase }
  throw new MeshError('conflict', `Job "${id}" is being removed; submit it again when it is gone`)
}

/** @throws invalid-argument */
function checkTasks({ count, stages }: Pick<SubmitArgs, 'count' | 'stages'>): void {
  if (count < 1 || count > JOB_TASKS_MAX) {
    throw refused(`a part has 1 to ${JOB_TASKS_MAX} tasks, not ${count}; cut it into parts`)
  }
  let end = 0
  let edges = 0
  for (const [place, stage] of stages.entries()) {
    if (stage.from !== end || stage.to <= stage.from) {
      throw refused(`stage ${place} is of [${stage.from}, ${stage.to}), and begins at ${end}`)
    }
    checkAfter(stage, place)
    end = stage.to
    edges += stage.after.length
  }
  if (end !== count) throw refused(`its stages have ${end} tasks and it has ${count}`)
  if (edges <= JOB_STAGE_EDGES_MAX) return
  throw refused(`its stages wait ${edges} times for another; at most ${JOB_STAGE_EDGES_MAX}`)
}

function checkAfter({ after }: Stage, place: number): void {
  const isRising = after.every((at, index) => index === 0 || at > Number(after[index - 1]))
  if (isRising && (after.at(-1) ?? -1) < place) return
  throw refused(`stage ${place} waits for earlier stages, each named once and in order`)
}

/** @throws invalid-argument */
function checkPolicy(policy: JobPolicy): void {
  const { retries, lossesMax, priority, retryBaseMs, retryMaxMs, retainMs, timeoutMs } = policy
  checkRange({ retries }, 0, JOB_RETRIES_MAX)
  checkRange({ lossesMax }, 1, JOB_LOSSES_MAX)
  checkRange({ priority }, 0, JOB_PRIORITY_MAX)
  checkRange({ retryBaseMs, retryMaxMs, retainMs, timeoutMs }, 0, DURATION_MS_MAX)
}

function checkRange(values: Readonly<Record<string, number>>, min: number, max: number): void {
  for (const [name, value] of Object.entries(values)) {
    if (value < min || value > max) {
      throw refused(`${name} is ${value}; accepted is ${min} to ${max}`)
    }
  }
}

function refused(problem: string): MeshError {
  return new MeshError('invalid-argument', `Cannot submit a job: ${problem}`)
}
