// Tasks that the caller waits for and nobody else knows: run here while there is room, and else by
// one of two nodes that are asked how busy they are (Ousterhout and others, "Sparrow", 2013, §3). When
// the caller ends they are forgotten.

import { sleep, type Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { SignalWatch } from '../../base/signal-watch.ts'
import { SECOND_MS } from '../../base/units.ts'
import { Backoff } from '../../core/jobs/backoff.ts'
import type { MeshView } from '../../mesh/view.ts'
import type { TaskOutcome } from '../../wire/job.ts'
import type { JobPeers } from './job-peers.ts'
import { PeerChoice } from './peer-choice.ts'
import { batchOf, isSendable, PeerRuns } from './peer-runs.ts'
import type { Ran, TaskRunner } from './task-runner.ts'
import { endOf, isOnTrial, WaitingTask, type EphemeralTask } from './waiting-task.ts'

export type { EphemeralTask } from './waiting-task.ts'

/** Tasks that wait or run for callers of this node; more are refused. */
const WAITING_MAX = 100_000
/** While what waits here is begun within this time, nobody else is asked. */
const LOCAL_MS = 10
/** Nobody had room: they are asked again after this, and then less and less often. */
const BUSY_MS = { minMs: 50, maxMs: SECOND_MS }
/** Kinds of tasks, of those that wait, for which others are asked at one time. */
const KINDS_MAX = 8
const RETRY_MS = 100
const RETRY_MS_MAX: number = 30 * SECOND_MS
/** What a task waits for is begun by then: else all slots may be held by tasks that wait so. */
const NESTED_MS: number = 60 * SECOND_MS

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
  /** All that somebody waits for. */
  readonly #all = new Set<WaitingTask>()
  readonly #watch = new SignalWatch<WaitingTask>((waiting) => waiting.fail(waiting.signal.reason))
  /** By priority, the highest first, and then in order. */
  #queue: WaitingTask[] = []
  readonly #choice: PeerChoice
  readonly #runs: PeerRuns
  readonly #busy: Backoff
  #lastId = 0
  #lastToken = 0
  #isDue = false
  #isAsking = false
  #isWaiting = false
  readonly #unsubscribe: () => void

  constructor(components: EphemeralComponents) {
    const { random, runner } = components
    this.#components = components
    this.#choice = new PeerChoice(components)
    this.#runs = new PeerRuns(
      { ...components, choice: this.#choice },
      {
        stopping: this.#stopping.signal,
        onEnded: (waiting, outcome) => this.#ended(waiting, outcome)
      }
    )
    this.#busy = new Backoff(BUSY_MS, random)
    this.#unsubscribe = runner.onFree(() => this.#turnSoon())
  }

  stop(): void {
    this.#unsubscribe()
    const reason = new MeshError('stopped', 'The node is stopping')
    this.#stopping.abort(reason)
    this.#queue = []
    for (const waiting of this.#all) waiting.fail(reason)
  }

  /** Whether tasks wait to begin. */
  get isCrowded(): boolean {
    return this.#queue.length > 0
  }

  /**
   * @returns how the task ended: done or failed
   * Rejects with overloaded, too-large, stopped, or the signal's reason.
   */
  run(task: EphemeralTask, signal: AbortSignal): Promise<TaskOutcome> {
    const waiting = new WaitingTask({ id: (this.#lastId += 1), task, signal }, this.#onSettled)
    const { signal: stopping } = this.#stopping
    if (signal.aborted) waiting.fail(signal.reason)
    else if (stopping.aborted) waiting.fail(stopping.reason)
    else if (this.#all.size >= WAITING_MAX) {
      const bound = `${WAITING_MAX} tasks of this node wait already`
      const advice = 'wait for some, or submit them as a job'
      waiting.fail(new MeshError('overloaded', `${bound}; ${advice}`))
    } else {
      this.#watch.add(signal, waiting)
      this.#all.add(waiting)
      this.#enqueue(waiting)
    }
    return waiting.outcome
  }

  readonly #onSettled = (waiting: WaitingTask): void => {
    this.#all.delete(waiting)
    this.#watch.delete(waiting.signal, waiting)
  }

  #enqueue(waiting: WaitingTask): void {
    if (waiting.isSettled) return
    waiting.sinceMs = this.#components.clock.monotonicMs()
    const { priority, isNested } = waiting.task
    const at = this.#queue.findLastIndex((one) => one.task.priority >= priority)
    if (at === this.#queue.length - 1) this.#queue.push(waiting)
    else this.#queue.splice(at + 1, 0, waiting)
    if (isNested === true) void this.#endLate(waiting)
    this.#turnSoon()
  }

  /** The task that waits for it is told, and ends: so there is room for others. */
  async #endLate(waiting: WaitingTask): Promise<void> {
    const { token } = waiting
    await this.#pause(NESTED_MS)
    if (waiting.isSettled || waiting.token !== token) return
    const problem = `no slot was free for ${NESTED_MS / SECOND_MS} s, and a task waits for this one`
    const advice = 'let it end, and submit a job instead'
    waiting.fail(new MeshError('overloaded', `Cannot run the task: ${problem}; ${advice}`))
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
    const unfit: WaitingTask[] = []
    let seen = 0
    for (const waiting of this.#queue) {
      // What never runs here is passed by others; what has no room now isn't.
      if (!waiting.isSettled && !this.#fits(waiting)) unfit.push(waiting)
      else if (!waiting.isSettled && !this.#startHere(waiting)) break
      seen += 1
    }
    this.#queue.splice(0, seen, ...unfit)
    if (this.#queue.length === 0 || this.#isAsking) return
    if (this.#isLong()) void this.#askOthers()
    else void this.#lookAgain()
  }

  /** What should begin soon may wait for long, for nobody knows how long others take. */
  async #lookAgain(): Promise<void> {
    if (this.#isWaiting) return
    this.#isWaiting = true
    await this.#pause(LOCAL_MS)
    this.#isWaiting = false
    this.#turnSoon()
  }

  #fits({ task: { spec, submitter } }: WaitingTask): boolean {
    return this.#components.runner.lacks(spec, { submitter, isFreeCounted: false }).length === 0
  }

  /** Whether what waits takes longer than asking others does, or can't be done here at all. */
  #isLong(): boolean {
    const { clock, runner } = this.#components
    const first = this.#queue.find(({ isSettled }) => !isSettled)
    if (first === undefined) return false
    if (!this.#fits(first) || clock.monotonicMs() - first.sinceMs >= LOCAL_MS) return true
    const estimateMs = runner.estimateMs(first.task.spec) ?? LOCAL_MS
    const slots = Math.max(1, runner.offer.cpuMilli / 1_000)
    return (this.#queue.length * estimateMs) / slots > LOCAL_MS
  }

  /** @returns whether it has begun */
  #startHere(waiting: WaitingTask): boolean {
    const { id, task, signal } = waiting
    const { spec, submitter, input, isNested } = task
    const fencingToken = this.#lastToken + 1
    // The same while it waits until it is alone.
    const name = `run/${id}/${waiting.token}`
    const about = { id: name, spec, submitter, isOnTrial: isOnTrial(waiting), isNested }
    const assignment = { ...about, input, fencingToken }
    const ran = this.#components.runner.tryRun(assignment, { signal })
    if (ran === undefined) return false
    this.#begin(waiting)
    void ran.then(
      (end) => this.#ended(waiting, outcomeOf(id, end)),
      (error: unknown) => waiting.fail(error)
    )
    return true
  }

  #begin(waiting: WaitingTask): void {
    waiting.token = this.#lastToken += 1
  }

  /** Sends what waits to the less busy of two nodes; again and again while something waits. */
  async #askOthers(): Promise<void> {
    this.#isAsking = true
    const { signal } = this.#stopping
    try {
      while (!signal.aborted && this.#queue.length > 0 && this.#isLong()) {
        if (await this.#sendSome()) {
          this.#busy.reset()
          continue
        }
        await this.#pause(this.#busy.next())
        this.#turn()
      }
    } finally {
      this.#isAsking = false
    }
    // What is left may wait for longer than it seems to.
    this.#turnSoon()
  }

  /** Of each kind of tasks the first one is asked for, until one is taken. */
  async #sendSome(): Promise<boolean> {
    const firsts = new Map<unknown, WaitingTask>()
    for (const waiting of this.#queue) {
      if (firsts.size === KINDS_MAX) break
      const { spec } = waiting.task
      if (waiting.isSettled || !isSendable(waiting) || firsts.has(spec)) continue
      // Nobody else knows that it is to be alone.
      if (isOnTrial(waiting) && this.#fits(waiting)) continue
      firsts.set(spec, waiting)
    }
    for (const first of firsts.values()) {
      const probed = await this.#choice.probe(first.task)
      if (probed === undefined) continue
      // Meanwhile it may have begun here.
      if (first.isSettled || !this.#queue.includes(first)) return true
      const { freeSlots, peer } = probed
      const estimateMs = this.#components.runner.estimateMs(first.task.spec)
      const batch = batchOf(this.#queue, first, { freeSlots, estimateMs })
      const sent = new Set(batch)
      this.#queue = this.#queue.filter((waiting) => !sent.has(waiting))
      for (const waiting of batch) this.#begin(waiting)
      void this.#runs.send(peer, batch)
      return true
    }
    return false
  }

  #ended(waiting: WaitingTask, outcome: TaskOutcome): void {
    if (waiting.isSettled) return
    const end = endOf(waiting, outcome)
    if (end === 'again') this.#enqueue(waiting)
    else if (end === 'later') void this.#retryLater(waiting)
    else waiting.settle(end)
  }

  async #retryLater(waiting: WaitingTask): Promise<void> {
    const boundMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** waiting.failures)
    await this.#pause(this.#components.random.below(boundMs))
    this.#enqueue(waiting)
  }

  /** When the node stops it is over at once. */
  async #pause(durationMs: number): Promise<void> {
    const { signal } = this.#stopping
    await sleep(this.#components.clock, durationMs, { signal }).catch(() => {})
  }
}

function outcomeOf(id: number, { result, logs }: Ran): TaskOutcome {
  if (result.kind === 'lost') return { id, ...result, durationMs: 0, logs }
  const { durationMs } = result
  if (result.kind === 'done') return { id, kind: 'done', output: result.output, durationMs, logs }
  const { isRetryable } = result
  const { code, message } = result.error
  return { id, kind: 'failed', code, message, isRetryable, durationMs, logs }
}
