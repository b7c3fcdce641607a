// A job of which this node has tasks: what it was granted and hasn't begun, what runs, what is to be
// told. The lease behind it says whether the tasks are still this node's.

import { sleep } from '../../base/clock.ts'
import { isMeshError, MeshError, toMeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import { MINUTE_MS, SECOND_MS } from '../../base/units.ts'
import { JOB_GRANT, type GrantedTask, type GrantResult } from '../../core/machine/job-calls.ts'
import type { Stage, TaskError } from '../../core/machine/job-records.ts'
import type { Leases } from '../leases/leases.ts'
import type { JobInputs } from './job-inputs.ts'
import { JOB_LEASE_MS, JobLease } from './job-lease.ts'
import { Outcomes, type OutcomesComponents } from './outcomes.ts'
import { specOfStage, type JobSpec } from './spec.ts'
import { workerName, type Ran, type TaskRunner } from './task-runner.ts'

/**
 * A question for tasks is the same one for so long: a second one beside it would give tasks to
 * somebody who doesn't know of them.
 */
const PULL_MS_MAX: number = 10 * MINUTE_MS
/** What is given back when the node stops, or has done all, may take so long. */
const STOP_MS: number = SECOND_MS
/** Tasks that take less are over soon. */
const SOON_MS = 3
/** Errors and their texts as the shard takes them. */
const ERROR_LENGTH_MAX = 250

export type PulledComponents = OutcomesComponents & {
  readonly self: PeerId
  readonly leases: Leases
  readonly runner: TaskRunner
  readonly inputs: JobInputs
}

/** What is known of a job before tasks of it are pulled. */
export type JobAbout = {
  readonly space: Uint8Array
  /** The space, as text. */
  readonly name: string
  readonly id: string
  readonly stages: readonly Stage[]
  readonly spec: JobSpec
  readonly submitter: string
  readonly priority: number
}

export type PulledEvents = {
  /** Something ended, was given back or taken away. */
  readonly onChanged: () => void
  /** A task was done here, … */
  readonly onWell: () => void
  /** … or what runs tasks here didn't, or ended, or a task lacked something. */
  readonly onTrouble: (reason: string) => void
}

type Granted = GrantedTask & { readonly sinceMs: number }

export class PulledJob {
  readonly about: JobAbout
  readonly #components: PulledComponents
  readonly #events: PulledEvents
  readonly #ended = new AbortController()
  readonly #outcomes: Outcomes
  readonly #lease: JobLease
  /** Granted and not begun, in the order of the grant. */
  #queue: Granted[] = []
  readonly #running = new Map<number, AbortController>()
  /** Attempts that run, or whose outcomes are on their way to the shard with their blocks. */
  readonly #finishing = new Set<Promise<void>>()
  #isReading = false

  constructor(components: PulledComponents, about: JobAbout, events: PulledEvents) {
    this.#components = components
    this.about = about
    this.#events = events
    this.#lease = new JobLease(components.leases, {
      space: about.space,
      onLost: () => this.#takeAway(new MeshError('timeout', 'The lease of the tasks has ended'))
    })
    this.#outcomes = new Outcomes(components, {
      space: about.space,
      worker: workerName(components.self),
      signal: this.#ended.signal,
      onTold: ({ phase }) => {
        if (phase !== 'open') this.#over(`The job is ${phase}`)
        events.onChanged()
      },
      onUntold: (reason) => this.#lease.lose(new MeshError('timeout', reason)),
      endsSoon: () => this.queued + this.running > 0 && (this.estimateMs ?? Infinity) < SOON_MS
    })
  }

  get queued(): number {
    return this.#queue.length
  }

  /** How long a task takes here; undefined before the first has ended. */
  get estimateMs(): number | undefined {
    return this.#components.runner.estimateMs(this.about.spec)
  }

  get running(): number {
    return this.#running.size
  }

  /** Nothing of it is here, and nothing is to be told. */
  get isIdle(): boolean {
    return (
      this.#queue.length === 0 &&
      this.#running.size === 0 &&
      this.#finishing.size === 0 &&
      !this.#outcomes.isBusy
    )
  }

  /** Asks for tasks. @throws as `Shards.execute` */
  async pull(limit: number): Promise<GrantResult> {
    const { id } = this.#lease
    try {
      return await this.#grant(limit)
    } catch (error) {
      if (id === 0 || this.#ended.signal.aborted) throw error
      const isOver = isMeshError(error, 'not-found')
      // Else some tasks may be this node's that it never heard of, and nobody would begin them.
      this.#lease.lose(isOver ? error : new MeshError('timeout', 'A grant was not answered'))
      if (!isOver) throw error
      return await this.#grant(limit)
    }
  }

  async #grant(limit: number): Promise<GrantResult> {
    const { shards, clock, self } = this.#components
    const args = { worker: workerName(self), lease: this.#lease.id, ttlMs: JOB_LEASE_MS, limit }
    const asked = { ...args, isSpeculativeAllowed: true }
    const sentMs = clock.monotonicMs()
    const options = { signal: this.#ended.signal, timeoutMs: PULL_MS_MAX }
    const { result } = await shards.execute({ space: this.about.space }, JOB_GRANT, asked, options)
    await this.take(result, sentMs)
    return result
  }

  /** Takes what was granted. @param sentMs when it was asked for @throws timeout: too long ago */
  async take(granted: GrantResult, sentMs: number): Promise<void> {
    await this.#lease.adopt({ id: granted.lease, sentMs }, this.#ended.signal)
    const sinceMs = this.#components.clock.monotonicMs()
    // Unless the lease was lost before the answer came.
    if (granted.lease !== this.#lease.id) return
    this.#queue.push(...granted.tasks.map((task) => ({ ...task, sinceMs })))
  }

  /** Begins the next task, if there is one and room for it. @returns whether it did */
  startNext(): boolean {
    const { runner, inputs } = this.#components
    const granted = this.#queue[0]
    if (granted === undefined) return false
    const { stages, submitter } = this.about
    const { task, attempt, isOnTrial } = granted
    const stage = stages.findIndex(({ from, to }) => task >= from && task < to)
    const spec = specOfStage(this.about.spec, stage)
    // Without its input a task can't begin; those of one grant are read together.
    const ready = inputs.ready(this.about, task)
    if (ready === undefined) {
      void this.#read(granted)
      return false
    }
    const controller = new AbortController()
    const about = { id: this.#idOf(granted), spec, submitter, isOnTrial, fencingToken: attempt }
    const ran = runner.tryRun({ ...about, ...ready }, { signal: controller.signal })
    if (ran === undefined) return false
    inputs.taken(this.about, task)
    this.#queue.shift()
    this.#running.set(attempt, controller)
    const finishing = this.#finish(granted, ran, controller.signal).finally(() => {
      this.#finishing.delete(finishing)
      this.#events.onChanged()
    })
    this.#finishing.add(finishing)
    return true
  }

  /** Gives back what waits here since before a time, so that others may have it. */
  giveBack(beforeMs: number): void {
    // What has room and only waits for its input stays.
    const { runner } = this.#components
    const kept = this.#isReading ? Math.max(1, runner.freeSlots) : 0
    const late = this.#queue.slice(kept).filter(({ sinceMs }) => sinceMs <= beforeMs)
    this.#return(late.filter((granted) => !runner.isWaiting(this.#idOf(granted))))
  }

  /** Stops what runs, and gives all of it back, as far as that is possible in a moment. */
  async stop(): Promise<void> {
    const { clock } = this.#components
    this.#stopRunning(new MeshError('stopped', 'The node is stopping'))
    this.#return(this.#queue)
    const told = Promise.all(this.#finishing).then(async () => await this.#outcomes.settled())
    const late = new AbortController()
    const waited = sleep(clock, STOP_MS, { signal: late.signal }).catch(() => {})
    await Promise.race([told, waited])
    late.abort()
    this.#ended.abort(new MeshError('stopped', 'The node is stopping'))
    this.#lease.abandon()
  }

  /** The job doesn't want what runs here any more. */
  cancel(): void {
    this.#over('The job was cancelled')
  }

  #idOf({ task, attempt }: Granted): string {
    return `${this.about.name}/${task}/${attempt}`
  }

  async #finish({ task, attempt }: Granted, ran: Promise<Ran>, signal: AbortSignal): Promise<void> {
    const { onWell, onTrouble } = this.#events
    try {
      const { result, logs } = await ran
      this.#running.delete(attempt)
      if (result.kind === 'lost') {
        this.#outcomes.tell({ kind: 'lost', task, attempt })
        onTrouble(result.reason)
        return
      }
      const about = { task, attempt, durationMs: result.durationMs, logs }
      onWell()
      if (result.kind === 'done') {
        await this.#outcomes.tellAttempt({ ...about, kind: 'done', value: result.output })
        return
      }
      const failed = { error: errorOf(result.error), isRetryable: result.isRetryable }
      await this.#outcomes.tellAttempt({ ...about, ...failed, kind: 'failed' })
    } catch (error) {
      // It was stopped here, or never begun: for no fault of its own.
      this.#running.delete(attempt)
      const { code, message } = toMeshError(error)
      const isUnfit = code === 'invalid-argument' || code === 'unsupported-protocol'
      this.#outcomes.tell({ kind: isUnfit ? 'unfit' : 'returned', task, attempt })
      if (!signal.aborted) onTrouble(message)
    }
  }

  /** Reads the inputs of what waits; when that can't be done, that of the first. */
  async #read(granted: Granted): Promise<void> {
    if (this.#isReading) return
    this.#isReading = true
    const { inputs } = this.#components
    try {
      const tasks = this.#queue.map(({ task }) => task)
      await inputs.read(this.about, tasks).catch(async (error: unknown) => {
        if (tasks.length === 1) throw error
        await inputs.read(this.about, [granted.task])
      })
    } catch (error) {
      this.#inputMissing(granted, error)
    } finally {
      this.#isReading = false
      this.#events.onChanged()
    }
  }

  #inputMissing(granted: Granted, reason: unknown): void {
    const { task, attempt } = granted
    if (!this.#queue.includes(granted)) return
    this.#drop([granted])
    const { message } = toMeshError(reason)
    const error = errorOf({ code: 'not-found', message: `Its input can't be read: ${message}` })
    this.#outcomes.tell({ kind: 'blocked', task, attempt, error })
    this.#events.onTrouble(error.message)
  }

  /** Nothing more is to be done for it, and its lease has ended with it. */
  #over(reason: string): void {
    this.#lease.lose(new MeshError('not-found', reason))
    this.#takeAway(new MeshError('aborted', reason))
  }

  #return(late: readonly Granted[]): void {
    this.#drop(late)
    for (const { task, attempt } of late) this.#outcomes.tell({ kind: 'returned', task, attempt })
  }

  #drop(some: readonly Granted[]): void {
    this.#queue = this.#queue.filter((granted) => !some.includes(granted))
    for (const { task } of some) this.#components.inputs.taken(this.about, task)
  }

  #takeAway(reason: MeshError): void {
    this.#drop(this.#queue)
    this.#stopRunning(reason)
    this.#events.onChanged()
  }

  #stopRunning(reason: MeshError): void {
    for (const controller of this.#running.values()) controller.abort(reason)
  }
}

function errorOf({ code, message }: TaskError): TaskError {
  return { code, message: message.slice(0, ERROR_LENGTH_MAX) }
}
