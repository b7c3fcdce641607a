// The programs of a run: they submit jobs, some of them twice, cancel and mend some, read their
// results, and run tasks that they wait for.

import { sleep } from '../../../src/base/clock.ts'
import { isMeshError, MeshError, type ErrorCode } from '../../../src/base/errors.ts'
import { MIB } from '../../../src/base/units.ts'
import { chance, type Random } from '../../../src/base/random.ts'
import { REQUIREMENTS_DEFAULTS } from '../../../src/core/jobs/requirements.ts'
import { decodeValue, encodeValue } from '../../../src/executor/values.ts'
import type { JobProgress, TaskValue as Found } from '../../../src/services/compute/job.ts'
import type { JobRequest } from '../../../src/services/compute/job-request.ts'
import { POLICY_DEFAULTS, type Jobs } from '../../../src/services/compute/jobs.ts'
import type { EphemeralTask } from '../../../src/services/compute/ephemeral.ts'
import { streamOf } from '../mesh/plan.ts'
import { demand, Violation } from '../raft/violation.ts'
import type { JobPlan } from './plan.ts'
import type { TaskValue } from './tasks.ts'
import type { JobsWorld } from './world.ts'

const CID = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'
const TIMEOUT_MS = 5_000
const PAUSE_MS = 300
const RUN_PAUSE_MS = 800
/** What a program may be told of a mesh that breaks; it tries again. */
const PASSING: readonly ErrorCode[] = [
  'unreachable',
  'timeout',
  'no-quorum',
  'overloaded',
  'stopped',
  'aborted',
  'client-expired',
  'not-admitted',
  'disk-full',
  'conflict'
]

export class Clients {
  readonly #world: JobsWorld
  readonly #random: Random
  readonly #running: Promise<void>[] = []
  readonly acknowledged: Set<string> = new Set()
  readonly cancelled: Set<string> = new Set()
  /** Tasks that were waited for and are done. */
  runCount = 0
  #isOver = false
  #failure: Error | undefined
  #pending = new Set<string>()

  constructor(world: JobsWorld) {
    this.#world = world
    this.#random = streamOf(world.plan.seed, 'clients')
  }

  start(): void {
    for (const job of this.#world.plan.jobs) this.#run(`job ${job.id}`, this.#goThrough(job))
    if (!this.#world.plan.faults.has('runs')) return
    for (const number of [1, 2]) this.#run(`runs ${number}`, this.#runTasks())
  }

  /** @returns what isn't at its end, in words @throws what a client found wrong */
  unfinished(): string | undefined {
    if (this.#failure !== undefined) throw this.#failure
    return [...this.#pending].join(', ') || undefined
  }

  /** Nothing new is begun. */
  end(): void {
    this.#isOver = true
  }

  #run(name: string, work: Promise<void>): void {
    this.#pending.add(name)
    this.#running.push(
      work
        .catch((error: unknown) => {
          this.#failure ??= error as Error
        })
        .finally(() => this.#pending.delete(name))
    )
  }

  /** All that somebody does with a job. */
  async #goThrough(job: JobPlan): Promise<void> {
    const { clock, trace, tasks } = this.#world
    await sleep(clock, job.submitMs)
    const submits = Array.from({ length: job.isTwice ? 2 : 1 }, () => this.#submit(job))
    await Promise.all(submits)
    this.acknowledged.add(job.id)
    trace.note(`${job.id} is submitted`)
    await this.#refuseAnother(job)
    const watching = chance(this.#random, 1, 2) ? this.#readResults(job) : Promise.resolve()
    // It is waited for at the end.
    watching.catch(() => {})
    if (job.cancelMs !== undefined) await this.#cancel(job, job.cancelMs)
    let progress = await this.#wait(job)
    if (job.isRetried && progress.state === 'ended' && progress.failed > 0) {
      trace.note(`${job.id} is mended`)
      tasks.mended.add(job.id)
      const handle = async (): Promise<number> =>
        await this.#through((jobs) => jobs.job(job.id).retry({ timeoutMs: TIMEOUT_MS }))
      await this.#again(handle)
      progress = await this.#wait(job)
    }
    trace.note(`${job.id} is ${progress.state}: ${progress.done} done, ${progress.failed} failed`)
    await watching
    await this.#readResults(job)
  }

  async #submit(job: JobPlan): Promise<void> {
    const asked = requestOf(job)
    await this.#again(async () => {
      await this.#through((jobs) => jobs.submit(asked, { timeoutMs: TIMEOUT_MS }))
    })
  }

  /** Another job of the same name isn't taken. */
  async #refuseAnother(job: JobPlan): Promise<void> {
    const other = { ...requestOf(job), task: 'another' }
    const code = await this.#again(async () => {
      try {
        await this.#through((jobs) => jobs.submit(other, { timeoutMs: TIMEOUT_MS }))
        return 'taken'
      } catch (error) {
        if (isMeshError(error, 'exists')) return 'exists'
        throw error
      }
    })
    demand('SubmitOnce', code === 'exists', `another ${job.id} was ${code}`)
  }

  async #cancel({ id }: JobPlan, afterMs: number): Promise<void> {
    const { clock, trace, witness } = this.#world
    await sleep(clock, afterMs)
    await this.#again(async () => {
      await this.#through((jobs) => jobs.job(id).cancel({ timeoutMs: TIMEOUT_MS }))
    })
    const { state } = await this.#progress(id)
    demand('CancelEnds', state !== 'open', `${id} is open after it was cancelled`)
    if (state === 'cancelled') {
      witness.cancelled(id)
      this.cancelled.add(id)
    }
    trace.note(`${id} is cancelled`)
  }

  async #progress(id: string): Promise<JobProgress> {
    return await this.#again(async () => {
      return await this.#through((jobs) => jobs.job(id).progress({ timeoutMs: TIMEOUT_MS }))
    })
  }

  async #wait({ id }: JobPlan): Promise<JobProgress> {
    return await this.#again(async () => await this.#through((jobs) => jobs.job(id).wait()))
  }

  /** Reads until the end, of whatever there is, each value once. */
  async #readResults({ id, kinds }: JobPlan): Promise<void> {
    const ordered = chance(this.#random, 1, 2)
    const found = await this.#again(async () => {
      return await this.#through(async (jobs) => {
        const values: Found<TaskValue>[] = []
        for await (const value of jobs.job<TaskValue>(id).results({ ordered })) values.push(value)
        return values
      })
    })
    const tasks = found.map(({ task }) => task)
    demand(
      'Results',
      new Set(tasks).size === tasks.length,
      `${id} has results twice: ${tasks.join()}`
    )
    for (const { task, value } of found) {
      const isRight = value.job === id && value.task === task && task < kinds.length
      demand(
        'Results',
        isRight,
        `task ${task} of ${id} has the value of ${value.job}/${value.task}`
      )
    }
  }

  /** One after the other, as long as anything happens. */
  async #runTasks(): Promise<void> {
    const { clock } = this.#world
    while (!this.#isOver) {
      await sleep(clock, this.#random.below(RUN_PAUSE_MS))
      const controller = new AbortController()
      const timer = clock.after(60_000, () =>
        controller.abort(new MeshError('timeout', 'Too late'))
      )
      try {
        const outcome = await this.#world.through(
          this.#random,
          async (node) => await node.work.ephemeral.run(RUN_TASK, controller.signal)
        )
        if (outcome.kind !== 'done') {
          const code = outcome.kind === 'failed' ? outcome.code : outcome.kind
          demand('Runs', code === 'poison-task', `a task that is waited for was told ${code}`)
          continue
        }
        const value = decodeValue(outcome.output) as TaskValue
        demand('Runs', value.job === 'run', `a task that is waited for returned for ${value.job}`)
        this.runCount += 1
      } catch (error) {
        checkPassing(error)
      } finally {
        timer.cancel()
      }
    }
  }

  async #through<T>(ask: (jobs: Jobs) => Promise<T>): Promise<T> {
    return await this.#world.through(this.#random, async (node) => await ask(node.work.jobs))
  }

  /** Until it goes well. */
  async #again<T>(what: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await what()
      } catch (error) {
        checkPassing(error)
        await sleep(this.#world.clock, 1 + this.#random.below(PAUSE_MS))
      }
    }
  }
}

/** @throws Violation when no program should be told that */
function checkPassing(error: unknown): void {
  if (!isMeshError(error)) throw error
  if (PASSING.includes(error.code)) return
  throw new Violation('RightErrors', `a program was told ${error.code}: ${error.message}`)
}

function requestOf(job: JobPlan): JobRequest {
  const { id, kinds, stages, isPure, priority, retries, retryBaseMs, timeoutMs, label } = job
  const rules = label === undefined ? [] : [{ key: 'kind', op: '=', value: label } as const]
  let from = 0
  const parts = stages.map((count, place) => {
    const stage = { from, to: from + count, after: place === 0 ? [] : [place - 1] }
    from += count
    return { ...stage, name: `stage${place}`, isOne: false }
  })
  const input = '.'.repeat(job.inputBytes)
  return {
    id,
    code: { kind: 'bundle', cid: CID },
    task: 'work',
    limits: { timeoutMs, memoryBytes: MIB },
    requirements: { ...REQUIREMENTS_DEFAULTS, memoryBytes: MIB, labels: rules },
    policy: {
      ...POLICY_DEFAULTS,
      isPure,
      isLasting: false,
      priority,
      retries,
      retryBaseMs,
      retryMaxMs: 3_000,
      submitter: `user${priority}`
    },
    inputs: kinds.map((_, task) => encodeValue(`${task}${input}`)),
    ...(parts.length > 1 ? { stages: parts } : {})
  }
}

const RUN_TASK: EphemeralTask = {
  spec: {
    code: { kind: 'bundle', cid: CID },
    task: 'run',
    limits: { timeoutMs: 10_000, memoryBytes: MIB },
    requirements: { ...REQUIREMENTS_DEFAULTS, memoryBytes: MIB },
    manifest: { kind: 'inline', inputs: [] }
  },
  submitter: 'program',
  input: encodeValue(0),
  retries: 3,
  priority: 0
}
