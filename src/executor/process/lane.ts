// Work in one kind of process: started when there is work, one for one that ended, and ended when
// there was nothing to do for long. Work that hadn't begun in a process that ended comes back.

import type { Clock, Timer } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { GRACE_MS, failed, type WorkResult } from '../executor.ts'
import { blameOf } from './blame.ts'
import { TaskProcess, describeExit, type ChildExit, type ChildOptions } from './child-process.ts'
import type { Frame } from './frame-channel.ts'
import {
  MESSAGES,
  readDouble,
  readEnding,
  sendConfig,
  sendJob,
  type ProcessConfig
} from './messages.ts'
import { RestartLimit } from './restart-limit.ts'
import type { WorkRun } from './work-run.ts'

/** A process that takes no work by then isn't one. */
const START_MS = 30_000
/** How much later than it should a process may say that a task has timed out. */
const LATE_MS = 5_000
/** Work that processes ended under before it began, so often, isn't given to another one. */
const RETURNS_MAX = 3

export type LaneComponents = {
  readonly clock: Clock
  readonly logger: Logger
  /** Before each start. */
  readonly childOptions: () => ChildOptions
  readonly config: () => ProcessConfig
}

export type LaneEvents = {
  /** It has ended, by its own `end`. */
  onEnded(run: WorkRun): void
  /** A process had it and ended before it began. */
  onReturned(runs: readonly WorkRun[]): void
  /** There will be no process for a while, or there is one again. */
  onChange(): void
}

export class Lane {
  readonly #components: LaneComponents
  readonly #events: LaneEvents
  readonly #idleMs: number
  readonly #limit = new RestartLimit()
  readonly #runs = new Map<number, WorkRun>()
  #process: TaskProcess | undefined
  #isReady = false
  #isStopped = false
  /** Runs while processes aren't started because too many ended. */
  #backOff: Timer | undefined
  #reason = ''
  #idleTimer: Timer | undefined
  #watchTimer: Timer | undefined
  #startTimer: Timer | undefined
  /** What the process said of the work that it ends itself over. */
  #culprit: { readonly run: WorkRun; readonly result: WorkResult } | undefined
  #exited: PromiseWithResolvers<void> | undefined

  constructor(components: LaneComponents, events: LaneEvents, options: { idleMs: number }) {
    this.#components = components
    this.#events = events
    this.#idleMs = options.idleMs
  }

  /** Work that a process has. */
  get count(): number {
    return this.#runs.size
  }

  /** Why there is no process now, and won't be for a while. */
  get failure(): string | undefined {
    return this.#backOff === undefined ? undefined : this.#reason
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  send(run: WorkRun): void {
    run.state = 'sent'
    this.#runs.set(run.number, run)
    this.#idleTimer?.cancel()
    this.#idleTimer = undefined
    if (this.#process === undefined) this.#start()
    else if (this.#isReady) this.#give(run)
  }

  cancel(run: WorkRun): void {
    if (this.#isReady) this.#process?.channel.send(MESSAGES.cancel, run.number)
    else this.#end(run, { kind: 'lost', reason: 'It was cancelled' })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    for (const timer of [this.#backOff, this.#idleTimer, this.#watchTimer]) timer?.cancel()
    this.#process?.kill()
    await this.#exited?.promise
  }

  #start(): void {
    this.#exited = Promise.withResolvers()
    this.#isReady = false
    const { clock, logger, childOptions, config } = this.#components
    try {
      const started = new TaskProcess(
        childOptions(),
        (frame) => this.#onFrame(frame),
        (exit) => this.#onExit(started, exit)
      )
      this.#process = started
      this.#startTimer = clock.after(START_MS, () => started.kill())
      sendConfig(started.channel, config())
    } catch (error) {
      logger.error('executor.start_failed', { reason: errorMessage(error) })
      this.#onExit(undefined, { code: null, signal: null, stderr: `Error: ${errorMessage(error)}` })
    }
  }

  #give(run: WorkRun): void {
    const { id, code, exportName, fencingToken, limits } = run.work
    const head = { id, exportName, fencingToken, ...limits }
    const given = code.kind === 'exec' ? code : { kind: code.kind, path: run.codePath }
    const { channel } = this.#process as TaskProcess
    sendJob(channel, run.number, { ...head, code: given }, run.work)
  }

  #onFrame({ kind, number, payload }: Frame): void {
    if (kind === MESSAGES.ready) {
      this.#isReady = true
      this.#startTimer?.cancel()
      for (const run of this.#runs.values()) this.#give(run)
      return
    }
    const run = this.#runs.get(number)
    if (run === undefined) return
    if (kind === MESSAGES.started) {
      run.group = readDouble(payload)
      run.started(this.#components.clock.monotonicMs())
      this.#watchTimer ??= this.#components.clock.after(LATE_MS, () => this.#watch())
    } else if (kind === MESSAGES.lines) {
      for (const line of payload.toString().split('\n')) run.log(line)
    } else if (kind === MESSAGES.progress) {
      run.progress(payload)
    } else if (kind === MESSAGES.usage) {
      run.usedBytes = readDouble(payload)
    } else if (kind === MESSAGES.cancelled) {
      this.#end(run, { kind: 'lost', reason: 'It was cancelled' })
    } else if (kind === MESSAGES.fatal) {
      const result = readEnding(MESSAGES.failed, payload)
      if (result !== undefined) this.#culprit = { run, result }
    } else {
      const lost = { kind: 'lost', reason: 'The process answered what is no result' } as const
      this.#end(run, readEnding(kind, payload) ?? lost)
    }
  }

  #end(run: WorkRun, result: WorkResult): void {
    this.#runs.delete(run.number)
    run.end(result)
    if (this.#runs.size === 0 && !this.#isStopped) {
      const { clock } = this.#components
      this.#idleTimer ??= clock.after(this.#idleMs, () => this.#process?.kill())
    }
    this.#events.onEnded(run)
  }

  /** A process whose main thread is stuck can't tell that a task has timed out. */
  #watch(): void {
    this.#watchTimer = undefined
    const { clock } = this.#components
    const now = clock.monotonicMs()
    const late = [...this.#runs.values()].find(({ state, startedMs, work }) => {
      return state === 'started' && now > startedMs + work.limits.timeoutMs + GRACE_MS + LATE_MS
    })
    if (late !== undefined) {
      const message = `The task took longer than ${late.work.limits.timeoutMs} ms`
      const options = { isRetryable: true, durationMs: now - late.startedMs }
      this.#culprit = { run: late, result: failed({ code: 'task-timeout', message }, options) }
      this.#process?.kill()
    } else if (this.#runs.size > 0) {
      this.#watchTimer = clock.after(LATE_MS, () => this.#watch())
    }
  }

  #onExit(ended: TaskProcess | undefined, exit: ChildExit): void {
    if (ended !== this.#process) return
    this.#startTimer?.cancel()
    this.#process = undefined
    this.#isReady = false
    this.#exited?.resolve()
    const runs = [...this.#runs.values()]
    this.#runs.clear()
    // Of commands nothing is left, also when the process that should see to it was killed.
    for (const { group } of runs) killGroup(group)
    const how = describeExit(exit)
    const reason = `The process for tasks ended: ${this.#isStopped ? 'it was stopped' : how}`
    if (runs.length > 0 && !this.#isStopped) {
      this.#components.logger.warn('executor.process_ended', { reason: how, running: runs.length })
    }
    this.#settle(runs, exit, reason)
  }

  #settle(runs: readonly WorkRun[], exit: ChildExit, reason: string): void {
    const begun = runs.filter(({ state }) => state === 'started')
    const blamed = this.#isStopped ? undefined : (this.#culprit ?? blameOf(begun, exit))
    this.#culprit = undefined
    // It ended because it was idle.
    const isExpected = runs.length === 0 && exit.signal === 'SIGKILL'
    if (!isExpected && !this.#isStopped) this.#delayNext(reason)
    const returned: WorkRun[] = []
    for (const run of runs) {
      run.returnCount += 1
      if (run === blamed?.run) run.end(blamed.result)
      else if (run.state === 'started' || this.#isStopped || this.#backOff !== undefined) {
        run.lose(reason)
      } else if (run.returnCount > RETURNS_MAX || run.isCancelled) run.lose(reason)
      else {
        run.state = 'queued'
        returned.push(run)
        continue
      }
      this.#events.onEnded(run)
    }
    // Those who wait needn't wait for it to start.
    const isWanted = this.#backOff === undefined && !isExpected && !this.#isStopped
    if (isWanted && this.#process === undefined) this.#start()
    this.#events.onReturned(returned)
  }

  /** One for one, unless too many have ended. */
  #delayNext(reason: string): void {
    const { clock, logger } = this.#components
    const delayMs = this.#limit.ended(clock.monotonicMs())
    if (delayMs === 0) return
    this.#reason = `${reason}; it has ended so often that the next one is tried in ${delayMs} ms`
    logger.error('executor.back_off', { delayMs, reason })
    this.#backOff = clock.after(delayMs, () => {
      this.#backOff = undefined
      this.#events.onChange()
    })
    this.#events.onChange()
  }
}

function killGroup(group: number): void {
  if (group <= 0) return
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // There is nobody left in it.
  }
}
