// Runs tasks in processes of their own: one with a pool of threads for bundles and WebAssembly, and
// one that starts commands, where that is allowed. Nothing that a task does stops the peer.

import { tmpdir } from 'node:os'
import { join, sep } from 'node:path'
import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { Emitter } from '../../base/emitter.ts'
import { MeshError, toMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { SignalWatch } from '../../base/signal-watch.ts'
import { MIB, MINUTE_MS } from '../../base/units.ts'
import {
  WAITING_COUNT_MAX,
  bytesOf,
  checkWork,
  failed,
  type Executor,
  type LoadCode,
  type RunOptions,
  type Work,
  type WorkResult
} from '../executor.ts'
import { CodeCache } from './code-cache.ts'
import { confinedFlags } from './entries.ts'
import { Lane } from './lane.ts'
import type { ClientSource } from './messages.ts'
import { WorkRun, stoppedError } from './work-run.ts'

/** Work given to the process before a slot is free, so that small tasks don't wait for messages. */
const AHEAD_COUNT = 64
const AHEAD_BYTES: number = 8 * MIB
const IDLE_MS: number = 5 * MINUTE_MS

export type ProcessExecutorComponents = {
  readonly clock: Clock
  readonly logger: Logger
  readonly loadCode: LoadCode
}

export type ProcessExecutorOptions = {
  /** The node's data folder: code is kept in `FOLDER/executor` while the node runs. */
  readonly folder: string
  /** Tasks at one time, commands among them. */
  readonly slots: number
  /** The most memory that a task may ask for. */
  readonly memoryBytesMax: number
  /** Whether work may be a command of this machine. */
  readonly allowExec?: boolean | undefined
  /** How tasks reach the node. Asked at each start of a process. */
  readonly client?: (() => ClientSource | undefined) | undefined
  /** A process without work ends after this long; five minutes unless given. */
  readonly idleMs?: number | undefined
}

export class ProcessExecutor implements Executor {
  readonly slots: number
  readonly #components: ProcessExecutorComponents
  readonly #options: ProcessExecutorOptions
  readonly #cache: CodeCache
  readonly #tasks: Lane
  readonly #commands: Lane
  readonly #emitter = new Emitter<{ free: undefined }>()
  readonly #stopping = new AbortController()
  readonly #loading = new Set<WorkRun>()
  readonly #watch = new SignalWatch<WorkRun>((run) => this.#cancel(run))
  #queue: WorkRun[] = []
  /** Inputs of what processes have. */
  #sentBytes = 0
  #number = 0
  #prepared: Promise<void> | undefined
  #isStarted = false

  constructor(components: ProcessExecutorComponents, options: ProcessExecutorOptions) {
    assert(options.slots >= 1, 'an executor has a slot at least')
    this.slots = options.slots
    this.#components = components
    this.#options = options
    this.#cache = new CodeCache(components.loadCode, join(options.folder, 'executor'))
    this.#tasks = this.#createLane('executor-child')
    this.#commands = this.#createLane('exec-child')
  }

  async start(): Promise<void> {
    assert(!this.#stopped.aborted, 'an executor is started once')
    this.#isStarted = true
    await Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(stoppedError())
    const waiting = this.#queue
    this.#queue = []
    for (const run of waiting) run.lose('The executor was stopped')
    await Promise.all([this.#tasks.stop(), this.#commands.stop()])
    await this.#prepared?.catch(() => {})
    if (this.#prepared !== undefined) await this.#cache.remove()
  }

  freeSlots(): number {
    if (!this.#isStarted || this.#stopped.aborted) return 0
    if (this.#tasks.failure !== undefined) return 0
    return Math.max(0, this.slots - this.#busyCount - this.#loading.size - this.#queue.length)
  }

  onFree(listener: () => void): () => void {
    return this.#emitter.on('free', listener)
  }

  /** Of the processes that there are now. For people and tests. */
  pids(): readonly number[] {
    return [this.#tasks.pid, this.#commands.pid].filter((pid) => pid !== undefined)
  }

  async run(work: Work, options: RunOptions = {}): Promise<WorkResult> {
    options.signal?.throwIfAborted()
    checkWork(work)
    this.#check(work)
    const run = new WorkRun({ watch: this.#watch }, { number: ++this.#number, work }, options)
    if (work.code.kind === 'exec') this.#enqueue(run, '')
    else {
      const path = this.#cache.use(work.code)
      if (path === undefined) void this.#load(run)
      else this.#enqueue(run, path)
    }
    return await run.result
  }

  get #stopped(): AbortSignal {
    return this.#stopping.signal
  }

  get #busyCount(): number {
    return this.#tasks.count + this.#commands.count
  }

  /** @throws when the work can't be taken */
  #check({ id, code, limits }: Work): void {
    if (!this.#isStarted || this.#stopped.aborted) throw stoppedError()
    const refuse = (why: string): MeshError => {
      return new MeshError('invalid-argument', `Cannot run task ${id}: ${why}`)
    }
    if (code.kind === 'exec' && this.#options.allowExec !== true) {
      throw refuse('this node runs no commands')
    }
    const { memoryBytesMax } = this.#options
    if (limits.memoryBytes > memoryBytesMax) {
      throw refuse(
        `it may hold ${limits.memoryBytes} bytes, and this node allows ${memoryBytesMax}`
      )
    }
    const { failure } = code.kind === 'exec' ? this.#commands : this.#tasks
    if (failure !== undefined) throw new MeshError('executor-failed', failure)
    if (this.#queue.length + this.#loading.size >= WAITING_COUNT_MAX) {
      throw new MeshError('overloaded', `Cannot run task ${id}: ${WAITING_COUNT_MAX} wait already`)
    }
  }

  async #load(run: WorkRun): Promise<void> {
    const { code } = run.work
    if (code.kind === 'exec') return
    this.#loading.add(run)
    try {
      this.#prepared ??= this.#cache.prepare()
      await this.#prepared
      const signals = run.signal === undefined ? [] : [run.signal]
      const path = await this.#cache.load(code, AbortSignal.any([this.#stopped, ...signals]))
      this.#loading.delete(run)
      this.#enqueue(run, path)
    } catch (error) {
      this.#loading.delete(run)
      const { code, message } = toMeshError(error)
      if (this.#stopped.aborted) run.lose('The executor was stopped')
      else run.end(failed({ code, message: `No code: ${message}` }, { isRetryable: true }))
      this.#freed()
    }
  }

  /** @param codePath of a file that is in use by this work */
  #enqueue(run: WorkRun, codePath: string): void {
    run.codePath = codePath
    if (run.isCancelled || this.#stopped.aborted) {
      run.lose('The executor was stopped')
      this.#release(run)
      return
    }
    run.state = 'queued'
    this.#queue.push(run)
    this.#pump()
  }

  /** In order: what waits for a slot isn't overtaken by what could go ahead. */
  #pump(): void {
    for (;;) {
      const [run] = this.#queue
      if (run === undefined || !this.#mayBegin(run)) return
      this.#queue.shift()
      this.#sentBytes += bytesOf(run.work)
      this.#laneOf(run).send(run)
    }
  }

  #mayBegin({ work }: WorkRun): boolean {
    if (this.#busyCount < this.slots) return true
    if (work.code.kind === 'exec' || this.#commands.count > 0) return false
    return (
      this.#tasks.count < this.slots + AHEAD_COUNT && this.#sentBytes + bytesOf(work) <= AHEAD_BYTES
    )
  }

  #cancel(run: WorkRun): void {
    if (run.state === 'queued') {
      this.#queue.splice(this.#queue.indexOf(run), 1)
      run.lose('It was cancelled')
      this.#release(run)
      this.#pump()
      this.#freed()
    } else if (run.state === 'sent' || run.state === 'started') {
      this.#laneOf(run).cancel(run)
    }
  }

  #ended(run: WorkRun): void {
    this.#sentBytes -= bytesOf(run.work)
    this.#release(run)
    this.#pump()
    this.#freed()
  }

  #returned(runs: readonly WorkRun[]): void {
    for (const { work } of runs) this.#sentBytes -= bytesOf(work)
    this.#queue.unshift(...runs)
    this.#pump()
  }

  #release({ work, codePath }: WorkRun): void {
    if (work.code.kind !== 'exec' && codePath !== '') this.#cache.release(work.code)
  }

  /** Work that waits for processes that keep ending may go elsewhere. */
  #changed(): void {
    const lost = this.#queue.filter((run) => this.#laneOf(run).failure !== undefined)
    this.#queue = this.#queue.filter((run) => !lost.includes(run))
    for (const run of lost) {
      run.lose(this.#laneOf(run).failure ?? '')
      this.#release(run)
    }
    this.#pump()
    this.#freed()
  }

  #freed(): void {
    if (this.freeSlots() > 0) this.#emitter.emit('free', undefined)
  }

  #laneOf({ work }: WorkRun): Lane {
    return work.code.kind === 'exec' ? this.#commands : this.#tasks
  }

  #createLane(entry: 'executor-child' | 'exec-child'): Lane {
    const { clock, logger } = this.#components
    const { client, idleMs = IDLE_MS } = this.#options
    const { slots } = this
    // The process for commands runs no code of others itself, and must be able to start them.
    const isConfined = entry === 'executor-child'
    const { folder } = this.#cache
    const flags = (): string[] => (isConfined ? confinedFlags(folder + sep) : [])
    return new Lane(
      {
        clock,
        logger,
        // Threads of a confined process may read where it was started.
        childOptions: () => ({ entry, flags: flags(), cwd: isConfined ? folder : tmpdir() }),
        config: () => ({ slots, client: client?.() })
      },
      {
        onEnded: (run) => this.#ended(run),
        onReturned: (runs) => this.#returned(runs),
        onChange: () => this.#changed()
      },
      { idleMs }
    )
  }
}
