// Tasks that the caller waits for and nobody else knows: run here while there is room, and else by
// one of two nodes that are asked how busy they are (Ousterhout and others, "Sparrow", 2013, §3). When
// the caller ends they are forgotten.

import { sleep, type Clock } from '../../base/clock.ts'
import { errorMessage, MeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import type { MeshView } from '../../mesh/view.ts'
import { RUN_TASKS_MAX, type TaskOutcome } from '../../wire/job.ts'
import { encodedSpec, PeerChoice } from './peer-choice.ts'
import type { JobPeers } from './job-peers.ts'
import type { JobSpec } from './spec.ts'
import type { TaskRunner } from './task-runner.ts'

/** Tasks that wait or run for callers of this node; more are refused. */
const WAITING_MAX = 100_000
/** While what waits here is done within this time, nobody else is asked. */
const LOCAL_MS = 10
/** Work that is sent to a peer at once, by the estimate. */
const BATCH_MS = 20
/** Bytes of inputs of one batch. */
const BATCH_BYTES = 524_288
/** Nobody had room: they are asked again after this. */
const BUSY_MS = 50
const RETRY_MS = 100
const RETRY_MS_MAX = 30_000
/** Nodes that may be lost over a task before it is given up. */
const LOSSES_MAX = 3

export type EphemeralTask = {
  readonly spec: JobSpec
  readonly submitter: string
  readonly input: Uint8Array
  /** How often it is tried again when it fails in a way that may pass. */
  readonly retries: number
  readonly priority: number
}

type Waiting = {
  readonly id: number
  readonly task: EphemeralTask
  readonly signal: AbortSignal
  readonly resolve: (outcome: TaskOutcome) => void
  readonly reject: (reason: unknown) => void
  failures: number
  losses: number
  isSettled: boolean
}

export type EphemeralComponents = {
  readonly runner: TaskRunner
  readonly peers: Pick<JobPeers, 'run' | 'probe'>
  readonly mesh: Pick<MeshView, 'self' | 'others' | 'isReachable'>
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export class Ephemeral {
  readonly #components: EphemeralComponents
  readonly #stopping = new AbortController()
  /** By priority, the highest first, and then in order. */
  #queue: Waiting[] = []
  readonly #choice: PeerChoice
  #count = 0
  #lastId = 0
  #isDue = false
  #isProbing = false
  readonly #unsubscribe: () => void

  constructor(components: EphemeralComponents) {
    this.#components = components
    this.#choice = new PeerChoice(components)
    this.#unsubscribe = components.runner.onFree(() => this.#turnSoon())
  }

  stop(): void {
    this.#unsubscribe()
    const reason = new MeshError('stopped', 'The node is stopping')
    this.#stopping.abort(reason)
    for (const waiting of this.#queue.splice(0)) waiting.reject(reason)
  }

  /**
   * @returns how the task ended: done or failed
   * @throws overloaded, stopped, or the signal's reason
   */
  async run(task: EphemeralTask, signal: AbortSignal): Promise<TaskOutcome> {
    signal.throwIfAborted()
    this.#stopping.signal.throwIfAborted()
    if (this.#count >= WAITING_MAX) {
      const bound = `${WAITING_MAX} tasks of this node wait already`
      throw new MeshError('overloaded', `${bound}; wait for some, or submit them as a job`)
    }
    const { promise, resolve, reject } = Promise.withResolvers<TaskOutcome>()
    const id = (this.#lastId += 1)
    const state = { id, task, signal, resolve, reject, failures: 0, losses: 0, isSettled: false }
    const abort = (): void => this.#settle(state, () => reject(signal.reason as Error))
    signal.addEventListener('abort', abort, { once: true })
    this.#count += 1
    this.#enqueue(state)
    try {
      return await promise
    } finally {
      this.#count -= 1
      signal.removeEventListener('abort', abort)
    }
  }

  #enqueue(waiting: Waiting): void {
    const { priority } = waiting.task
    const at = this.#queue.findLastIndex((one) => one.task.priority >= priority)
    if (at === this.#queue.length - 1) this.#queue.push(waiting)
    else this.#queue.splice(at + 1, 0, waiting)
    this.#turnSoon()
  }

  #turnSoon(): void {
    if (this.#isDue || this.#stopping.signal.aborted) return
    this.#isDue = true
    queueMicrotask(() => {
      this.#isDue = false
      this.#turn()
    })
  }

  #turn(): void {
    let started = 0
    for (const waiting of this.#queue) {
      if (!waiting.isSettled && !this.#startHere(waiting)) break
      started += 1
    }
    this.#queue.splice(0, started)
    if (this.#queue.length > 0 && !this.#isProbing && this.#isLong()) void this.#askOthers()
  }

  /** Whether what waits takes longer than asking others does, or can't be done here at all. */
  #isLong(): boolean {
    const { runner } = this.#components
    const [first] = this.#queue
    if (first === undefined) return false
    const { spec, submitter } = first.task
    if (runner.lacks(spec, { submitter, isFreeCounted: false }).length > 0) return true
    const estimateMs = runner.estimateMs(spec) ?? LOCAL_MS
    const slots = Math.max(1, runner.offer.cpuMilli / 1_000)
    return (this.#queue.length * estimateMs) / slots > LOCAL_MS
  }

  /** @returns whether it has begun */
  #startHere(waiting: Waiting): boolean {
    const { runner } = this.#components
    const { id, task, signal } = waiting
    const { spec, submitter, input } = task
    if (runner.lacks(spec, { submitter, isFreeCounted: false }).length > 0) return false
    const name = `run/${id}/${waiting.failures + waiting.losses}`
    const assignment = { id: name, spec, submitter, input, fencingToken: id }
    const ran = runner.tryRun(assignment, { signal })
    if (ran === undefined) return false
    void ran.then(
      ({ result, logs }) => {
        if (result.kind === 'lost') {
          this.#ended(waiting, { id, ...result, durationMs: 0, logs })
          return
        }
        const { durationMs } = result
        if (result.kind === 'done') {
          this.#ended(waiting, { id, kind: 'done', output: result.output, durationMs, logs })
          return
        }
        const { code, message } = result.error
        const { isRetryable } = result
        this.#ended(waiting, { id, kind: 'failed', code, message, isRetryable, durationMs, logs })
      },
      (error: unknown) => this.#settle(waiting, () => waiting.reject(error))
    )
    return true
  }

  /** Sends what waits to the less busy of two nodes; again and again while something waits. */
  async #askOthers(): Promise<void> {
    this.#isProbing = true
    const { clock } = this.#components
    try {
      while (this.#queue.length > 0 && this.#isLong() && !this.#stopping.signal.aborted) {
        const isSent = await this.#sendSome()
        if (isSent) continue
        await sleep(clock, BUSY_MS, { signal: this.#stopping.signal }).catch(() => {})
        this.#turn()
      }
    } finally {
      this.#isProbing = false
    }
  }

  async #sendSome(): Promise<boolean> {
    const first = this.#queue.find(({ isSettled }) => !isSettled)
    if (first === undefined) return false
    const probed = await this.#choice.probe(first.task)
    if (probed === undefined) return false
    const batch = this.#takeBatch(first, probed.freeSlots)
    if (batch.length > 0) void this.#send(probed.peer, batch)
    return batch.length > 0
  }

  /** Tasks of one kind, as many as the slots do in a moment. */
  #takeBatch(first: Waiting, freeSlots: number): Waiting[] {
    const { spec } = first.task
    const estimateMs = this.#components.runner.estimateMs(spec) ?? Infinity
    const each = Math.max(1, Math.floor(BATCH_MS / estimateMs))
    const countMax = Math.min(RUN_TASKS_MAX, freeSlots * each)
    const batch: Waiting[] = []
    let bytes = 0
    const rest: Waiting[] = []
    for (const waiting of this.#queue) {
      const isSame = waiting.task.spec === spec && waiting.task.submitter === first.task.submitter
      const fits = batch.length === 0 || bytes + waiting.task.input.length <= BATCH_BYTES
      if (waiting.isSettled) continue
      if (isSame && fits && batch.length < countMax) {
        bytes += waiting.task.input.length
        batch.push(waiting)
      } else rest.push(waiting)
    }
    this.#queue = rest
    return batch
  }

  async #send(peer: PeerId, batch: readonly Waiting[]): Promise<void> {
    const { peers, log } = this.#components
    const [first] = batch
    if (first === undefined) return
    const { spec, submitter } = first.task
    const { code, task, limits } = spec
    const controller = new AbortController()
    const signal = AbortSignal.any([controller.signal, this.#stopping.signal])
    // Nobody waits for any of them any more.
    const onAbort = (): void => {
      if (batch.every((waiting) => waiting.isSettled)) controller.abort()
    }
    for (const waiting of batch) waiting.signal.addEventListener('abort', onAbort)
    this.#choice.sent(peer, 1)
    const encoded = encodedSpec(spec)
    const tasks = batch.map((one) => ({ id: one.id, input: one.task.input, fencingToken: one.id }))
    const call = { kind: 'run', code, task, submitter, spec: encoded, limits, tasks } as const
    try {
      const outcomes = await peers.run(peer, call, { signal })
      const byId = new Map(outcomes.map((outcome) => [outcome.id, outcome]))
      for (const waiting of batch) {
        const outcome = byId.get(waiting.id)
        const missing = {
          id: waiting.id,
          kind: 'lost',
          reason: 'no answer',
          durationMs: 0,
          logs: ''
        }
        this.#ended(waiting, outcome ?? ({ ...missing, kind: 'lost' } as const))
        if (outcome?.kind === 'busy') this.#choice.avoid(peer, 'busy')
      }
    } catch (error) {
      this.#choice.avoid(peer, 'away')
      const reason = errorMessage(error)
      log.debug('ephemeral.unanswered', { peer, reason })
      for (const waiting of batch) {
        this.#ended(waiting, { id: waiting.id, kind: 'lost', reason, durationMs: 0, logs: '' })
      }
    } finally {
      for (const waiting of batch) waiting.signal.removeEventListener('abort', onAbort)
      this.#choice.sent(peer, -1)
    }
  }

  #ended(waiting: Waiting, outcome: TaskOutcome): void {
    if (waiting.isSettled) return
    if (outcome.kind === 'busy') return this.#enqueue(waiting)
    if (outcome.kind === 'lost') {
      waiting.losses += 1
      if (waiting.losses < LOSSES_MAX) return this.#enqueue(waiting)
      const message = `${LOSSES_MAX} times what ran it was lost, at last: ${outcome.reason}`
      const { id, durationMs, logs } = outcome
      const failed = { id, durationMs, logs, code: 'poison-task', message, isRetryable: false }
      return this.#settle(waiting, () => waiting.resolve({ ...failed, kind: 'failed' }))
    }
    if (outcome.kind === 'failed' && outcome.isRetryable) {
      waiting.failures += 1
      if (waiting.failures <= waiting.task.retries) return this.#retryLater(waiting)
    }
    return this.#settle(waiting, () => waiting.resolve(outcome))
  }

  #retryLater(waiting: Waiting): void {
    const { clock, random } = this.#components
    const boundMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** waiting.failures)
    const delayMs = random.below(boundMs)
    clock.after(delayMs, () => {
      if (!waiting.isSettled && !this.#stopping.signal.aborted) this.#enqueue(waiting)
    })
  }

  #settle(waiting: Waiting, tell: () => void): void {
    if (waiting.isSettled) return
    waiting.isSettled = true
    tell()
  }
}
