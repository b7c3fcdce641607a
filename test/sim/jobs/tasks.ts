// What the tasks of a run do, and what is known of their attempts in truth.

import { present } from '../../../src/base/assert.ts'
import { chance, type Random } from '../../../src/base/random.ts'
import { JOB_TRIAL_MS } from '../../../src/core/machine/job-loss.ts'
import { failed, type Work } from '../../../src/executor/executor.ts'
import type { MemoryTask } from '../../../src/executor/memory/memory-executor.ts'
import { encodeValue } from '../../../src/executor/values.ts'
import { streamOf } from '../mesh/plan.ts'
import { Violation } from '../raft/violation.ts'
import type { JobNode } from './job-node.ts'
import { SLOW, type JobPlan } from './plan.ts'
import type { JobsWorld } from './world.ts'

/** From the beginning of a task that ends what runs it. */
const FUSE_MS = 30
/** By a clock that may be quick. */
const TRIAL_MS: number = 0.99 * JOB_TRIAL_MS
/** Failures of one that fails a few times. */
const FLAKY_FAILURES = 2

/** What a task returns. */
export type TaskValue = {
  readonly job: string
  readonly task: number
  readonly attempt: number
  readonly node: string
  readonly padding: string
}

export class Tasks {
  readonly #world: JobsWorld
  readonly #random: Random
  /** How often each task began, by job and number. */
  readonly #begun = new Map<string, number>()
  /** When a machine began a task on trial. */
  readonly #trials = new Map<JobNode, { readonly sinceMs: number; readonly crashes: number }>()
  /** Jobs that somebody has mended. */
  readonly mended: Set<string> = new Set()

  constructor(world: JobsWorld) {
    this.#world = world
    this.#random = streamOf(world.plan.seed, 'tasks')
  }

  begin(node: JobNode, { id }: Work): MemoryTask {
    const { trace, plan } = this.#world
    const [space = '', task, attempt] = id.split('/')
    trace.note(`${node.name} begins ${space}/${task}/${attempt}`)
    this.#checkAlone(node, `${space}/${attempt}`)
    const job = plan.jobs.find((one) => `~${one.id}` === space)
    // One that somebody waits for.
    if (job === undefined) return this.#plain(node, { job: 'run', task: 0, attempt: 0 }, RUN)
    const tried = { job: job.id, task: Number(task), attempt: Number(attempt) }
    const key = `${space}/${task}`
    const begun = (this.#begun.get(key) ?? 0) + 1
    this.#begun.set(key, begun)
    const kind = present(job.kinds[tried.task], 'the task is one of the job')
    const isMended = this.mended.has(job.id)
    const fine = this.#plain(node, tried, job)
    switch (kind) {
      case 'plain':
        return fine
      case 'flaky':
        return begun <= FLAKY_FAILURES ? failing(fine.durationMs) : fine
      case 'broken':
        return isMended ? fine : failing(fine.durationMs)
      case 'endless':
        return isMended ? fine : { ...fine, durationMs: Infinity }
      case 'poison':
        if (!isMended) this.#later(() => node.crash())
        return { ...fine, durationMs: fine.durationMs + 2 * FUSE_MS }
      case 'killer': {
        const { node: made } = node.peer
        if (!isMended) {
          this.#later(() => {
            if (node.peer.node === made) this.#world.kill(node)
          })
        }
        return { ...fine, durationMs: fine.durationMs + 2 * FUSE_MS }
      }
    }
  }

  /** One on trial begins alone, and nothing begins beside it; neither for ever. */
  #checkAlone(node: JobNode, key: string): void {
    const { clock, witness } = this.#world
    const nowMs = clock.monotonicMs()
    const isAlone = node.executor?.freeSlots() === node.plan.slots - 1
    const trial = this.#trials.get(node)
    // It has ended, if there was one.
    if (isAlone || trial?.crashes !== node.crashes) this.#trials.delete(node)
    const isEarly = (sinceMs = -Infinity): boolean => nowMs - sinceMs < TRIAL_MS
    const grantedMs = witness.trials.get(key)
    const isBeside = isEarly(this.#trials.get(node)?.sinceMs) || (!isAlone && isEarly(grantedMs))
    if (isBeside) this.#world.failure ??= new Violation('TriedAlone', `${key} begins beside others`)
    if (grantedMs !== undefined) this.#trials.set(node, { sinceMs: nowMs, crashes: node.crashes })
  }

  #plain(
    node: JobNode,
    tried: Pick<TaskValue, 'job' | 'task' | 'attempt'>,
    { durationMs, outputBytes, hasLogs }: Pick<JobPlan, 'durationMs' | 'outputBytes' | 'hasLogs'>
  ): MemoryTask {
    const isSlow = this.#world.plan.faults.has('slow-tasks') && chance(this.#random, 1, SLOW.oneIn)
    const halfMs = Math.ceil(durationMs / 2)
    const ownMs = (halfMs + this.#random.below(durationMs + 1)) * (isSlow ? SLOW.times : 1)
    const tookMs = Math.ceil((ownMs * 1_000) / node.plan.speedMilli)
    const padding = '.'.repeat(outputBytes)
    const value: TaskValue = { ...tried, node: node.name, padding }
    return {
      durationMs: tookMs,
      result: { kind: 'done', output: encodeValue(value), durationMs: tookMs },
      lines: hasLogs ? [`${node.name} did it`] : [],
      isAttentive: chance(this.#random, 1, 2)
    }
  }

  #later(run: () => void): void {
    this.#world.clock.after(FUSE_MS, run)
  }
}

const RUN = { durationMs: 20, outputBytes: 20, hasLogs: false }

function failing(durationMs: number): MemoryTask {
  const error = { code: 'task-failed', message: 'It does that' } as const
  return { durationMs, result: failed(error, { isRetryable: true, durationMs }) }
}
