// A job of which this node has tasks: what it was granted and hasn't begun, what runs, what is to be
// told. The lease behind it says whether the tasks are still this node's.

import { MeshError, toMeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import { SECOND_MS } from '../../base/units.ts'
import { JOB_GRANT, type GrantedTask, type GrantResult } from '../../core/machine/job-calls.ts'
import type { Stage } from '../../core/machine/job-records.ts'
import type { Lease, Leases } from '../leases/leases.ts'
import type { JobInputs } from './job-inputs.ts'
import { Outcomes, type OutcomesComponents } from './outcomes.ts'
import { specOfStage, type JobSpec } from './spec.ts'
import { workerName, type Ran, type TaskRunner } from './task-runner.ts'

/** A worker that is silent for so long has lost its tasks. */
const LEASE_MS: number = 6 * SECOND_MS
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
}

type Granted = GrantedTask & { readonly sinceMs: number }

export class PulledJob {
  readonly about: JobAbout
  readonly #components: PulledComponents
  readonly #onChanged: () => void
  readonly #ended = new AbortController()
  readonly #outcomes: Outcomes
  #lease: Lease | undefined
  /** Granted and not begun, in the order of the grant. */
  #queue: Granted[] = []
  readonly #running = new Map<number, { task: number; controller: AbortController }>()
  /** Outcomes that are on their way to the shard, with their blocks. */
  #telling = 0

  /** @param onChanged something ended, was given back or taken away */
  constructor(components: PulledComponents, about: JobAbout, onChanged: () => void) {
    this.#components = components
    this.about = about
    this.#onChanged = onChanged
    this.#outcomes = new Outcomes(components, {
      space: about.space,
      worker: workerName(components.self),
      signal: this.#ended.signal,
      onTold: ({ phase }) => {
        if (phase !== 'open') this.#takeAway(new MeshError('aborted', `The job is ${phase}`))
        this.#onChanged()
      }
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
      this.#telling === 0 &&
      !this.#outcomes.isBusy
    )
  }

  /** Asks for tasks. @throws as `Shards.execute` */
  async pull(limit: number, isSpeculativeAllowed: boolean): Promise<GrantResult> {
    const { shards, clock, leases, self } = this.#components
    const known = this.#lease?.lost.aborted === false ? this.#lease.id : 0
    const args = { worker: workerName(self), lease: known, ttlMs: LEASE_MS, limit }
    const sentMs = clock.monotonicMs()
    const target = { space: this.about.space }
    const signal = this.#ended.signal
    const { result } = await shards.execute(
      target,
      JOB_GRANT,
      { ...args, isSpeculativeAllowed },
      { signal }
    )
    if (result.lease !== 0 && result.lease !== this.#lease?.id) {
      const { space } = this.about
      const lease = leases.adopt(space, { id: result.lease, ttlMs: LEASE_MS, sentMs })
      this.#lease = lease
      lease.guard()
      lease.lost.addEventListener('abort', () => this.#leaseLost(lease), { once: true })
    }
    for (const task of result.tasks) this.#queue.push({ ...task, sinceMs: sentMs })
    return result
  }

  /** Begins the next task, if there is one and room for it. @returns whether it did */
  startNext(): boolean {
    const { runner, inputs } = this.#components
    const granted = this.#queue[0]
    if (granted === undefined) return false
    const { stages, submitter, name } = this.about
    const stage = stages.findIndex(({ from, to }) => granted.task >= from && granted.task < to)
    const spec = specOfStage(this.about.spec, stage)
    // Without its input a task can't begin; those of one grant are read together.
    const ready = inputs.ready(this.about, granted.task)
    if (ready === undefined) {
      void inputs
        .read(
          this.about,
          this.#queue.map(({ task }) => task)
        )
        .then(
          () => this.#onChanged(),
          (error: unknown) => this.#inputMissing(granted, error)
        )
      return false
    }
    const controller = new AbortController()
    const { task, attempt } = granted
    const ran = runner.tryRun(
      {
        id: `${name}/${task}/${attempt}`,
        spec,
        submitter,
        ...ready,
        fencingToken: attempt
      },
      { signal: controller.signal }
    )
    if (ran === undefined) return false
    this.#queue.shift()
    this.#running.set(attempt, { task, controller })
    void this.#finish(granted, ran)
    return true
  }

  /** Gives back what waits here since before a time, so that others may have it. */
  giveBack(beforeMs: number): number {
    const late = this.#queue.filter(({ sinceMs }) => sinceMs <= beforeMs)
    this.#queue = this.#queue.filter(({ sinceMs }) => sinceMs > beforeMs)
    for (const { task, attempt } of late) this.#outcomes.tell({ kind: 'returned', task, attempt })
    return late.length
  }

  /** Nothing of it is begun any more; what runs goes on, is told, and then it is over. */
  async finish(): Promise<void> {
    this.giveBack(Infinity)
    await this.#outcomes.settled()
  }

  /** Stops what runs, and gives all of it back. */
  async stop(): Promise<void> {
    this.#stopRunning(new MeshError('stopped', 'The node is stopping'))
    await this.finish()
    this.#ended.abort(new MeshError('stopped', 'The node is stopping'))
  }

  /** The job doesn't want what runs here any more. */
  cancel(): void {
    this.#takeAway(new MeshError('aborted', 'The job was cancelled'))
  }

  async #finish({ task, attempt }: Granted, ran: Promise<Ran>): Promise<void> {
    this.#telling += 1
    try {
      const { result, logs } = await ran
      this.#running.delete(attempt)
      if (result.kind === 'lost') {
        this.#outcomes.tell({ kind: 'returned', task, attempt })
        return
      }
      const { durationMs } = result
      if (result.kind === 'done') {
        const value = result.output
        await this.#outcomes.tellAttempt({ kind: 'done', task, attempt, durationMs, value, logs })
        return
      }
      const error = errorOf(result.error)
      const { isRetryable } = result
      const told = { kind: 'failed', task, attempt, durationMs, error, isRetryable, logs } as const
      await this.#outcomes.tellAttempt(told)
    } catch (error) {
      // It was stopped here, or never begun: for no fault of its own.
      this.#running.delete(attempt)
      const { code } = toMeshError(error)
      const isUnfit = code === 'invalid-argument' || code === 'unsupported-protocol'
      this.#outcomes.tell({ kind: isUnfit ? 'unfit' : 'returned', task, attempt })
    } finally {
      this.#telling -= 1
      this.#onChanged()
    }
  }

  #inputMissing(granted: Granted, reason: unknown): void {
    const { task, attempt } = granted
    if (!this.#queue.includes(granted)) return
    this.#queue = this.#queue.filter((one) => one !== granted)
    const { message } = toMeshError(reason)
    const error = errorOf({ code: 'not-found', message: `Its input can't be read: ${message}` })
    const told = { kind: 'failed', task, attempt, error, isRetryable: true, durationMs: 0 } as const
    this.#outcomes.tell({ ...told, logs: undefined })
    this.#onChanged()
  }

  #leaseLost(lease: Lease): void {
    if (this.#lease !== lease) return
    this.#lease = undefined
    this.#takeAway(new MeshError('timeout', 'The lease of the tasks has ended'))
  }

  #takeAway(reason: MeshError): void {
    this.#queue = []
    this.#stopRunning(reason)
    this.#onChanged()
  }

  #stopRunning(reason: MeshError): void {
    for (const { controller } of this.#running.values()) controller.abort(reason)
  }
}

function errorOf({ code, message }: { code: string; message: string }): {
  code: string
  message: string
} {
  return { code, message: message.slice(0, ERROR_LENGTH_MAX) }
}
