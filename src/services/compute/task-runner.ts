// Runs tasks on this node as far as it has room for them: what a task asks for is taken while it
// runs, whoever wants it run.

import type { PeerId } from '../../base/ids.ts'
import { Shares } from '../../core/jobs/shares.ts'
import { lacks, type Free, type Lack, type Offer } from '../../core/jobs/requirements.ts'
import type { Dependency, Executor, WorkResult } from '../../executor/executor.ts'
import type { JobSpec } from './spec.ts'
import { Trials } from './trials.ts'

/**
 * Tasks below these durations leave some of a slot unused while they come and go, so that the next
 * ones are at hand.
 */
const SHARES = [
  { belowMs: 2, share: 32 },
  { belowMs: 100, share: 2 }
]
/** Kinds of tasks of which it is known how long they take. */
const ESTIMATES_MAX = 256
/** What is kept of what a task prints. */
const LOG_LENGTH_MAX = 262_144

const NOTHING: Free = { cpuMilli: 0, memoryBytes: 0, gpus: 0 }

export type Assignment = {
  /** For people, and to name it in `logsOf`. */
  readonly id: string
  readonly spec: JobSpec
  readonly submitter: string
  readonly input: Uint8Array
  /** What it builds on. */
  readonly after?: readonly Dependency[]
  readonly fencingToken: number
  /** It may be what ends those who run it: it runs alone. */
  readonly isOnTrial?: boolean | undefined
  /** A task that runs waits for it. */
  readonly isNested?: boolean | undefined
}

export type Ran = { readonly result: WorkResult; readonly logs: string }

type Running = {
  readonly submitter: string
  /** Slots that it has. */
  readonly slots: number
  readonly sinceMs: number
  /** How long such tasks take, about. */
  readonly estimateMs: number
  log: string
}

export class TaskRunner {
  readonly offer: Offer
  readonly speedMilli: number
  readonly #executor: Executor
  readonly #nowMs: () => number
  readonly #listeners = new Set<() => void>()
  readonly #running = new Map<string, Running>()
  readonly #estimates = new Map<string, number>()
  readonly #shares = new Shares()
  readonly #trials: Trials
  #free: Free
  #isStopped = false

  /** @param options.speedMilli how fast the node is, in thousandths of the usual one */
  constructor(
    components: { executor: Executor; nowMs: () => number },
    { offer, speedMilli }: { offer: Offer; speedMilli: number }
  ) {
    this.#executor = components.executor
    this.#nowMs = components.nowMs
    this.#trials = new Trials(components.nowMs)
    this.offer = offer
    this.speedMilli = speedMilli
    const { cpuMilli, memoryBytes, gpus } = offer
    this.#free = { cpuMilli, memoryBytes, gpus }
  }

  /** Slots of a thousandth of a processor and more that nothing uses. */
  get free(): Free {
    return this.isHeld ? NOTHING : this.#free
  }

  /** A task waits until it is alone, or is: nothing else begins. */
  get isHeld(): boolean {
    return this.#trials.isHeld
  }

  /** Whether a task waits until it is alone. */
  isWaiting(id: string): boolean {
    return this.#trials.waits(id)
  }

  get runningCount(): number {
    return this.#running.size
  }

  /** Whole tasks of one processor each that have room now. */
  get freeSlots(): number {
    return Math.floor(this.free.cpuMilli / 1_000)
  }

  /** @returns why this node never, or not now, runs such a task; empty when it does */
  lacks(spec: JobSpec, about: { submitter: string; isFreeCounted: boolean }): readonly Lack[] {
    const { submitter, isFreeCounted } = about
    const free = isFreeCounted ? this.free : undefined
    return lacks(spec.requirements, this.offer, { submitter, free })
  }

  /** How long such tasks took here lately, milliseconds; undefined before the first. */
  estimateMs(spec: JobSpec): number | undefined {
    return this.#estimates.get(kindOf(spec))
  }

  /**
   * Slot-time that a submitter had of this node lately, over their weight.
   *
   * @param expectedMs what they will have of it soon besides what runs
   */
  usedMs(submitter: string, expectedMs: number): number {
    const nowMs = this.#nowMs()
    let underWayMs = expectedMs
    for (const { submitter: whose, slots, sinceMs, estimateMs } of this.#running.values()) {
      if (whose === submitter) underWayMs += slots * Math.max(estimateMs, nowMs - sinceMs)
    }
    return this.#shares.of(submitter, nowMs, underWayMs)
  }

  /** What a task that runs here has printed; undefined when it doesn't. */
  logsOf(id: string): string | undefined {
    return this.#running.get(id)?.log
  }

  /** Calls when there may be more room. */
  onFree(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** From now on there is room for nothing. */
  stop(): void {
    this.#isStopped = true
  }

  /**
   * Begins a task, if there is room for it. One on trial begins when it is alone, and waits for that as
   * long as it is asked for.
   *
   * @returns undefined when there is none. Rejects with the signal's reason, and as `Executor.run`
   */
  tryRun(
    assignment: Assignment,
    options: { signal: AbortSignal; onProgress?: (value: Uint8Array) => void }
  ): Promise<Ran> | undefined {
    const { id, spec, submitter, isOnTrial = false, isNested = false } = assignment
    const estimateMs = this.estimateMs(spec)
    const { share = 1 } = SHARES.find(({ belowMs }) => (estimateMs ?? Infinity) < belowMs) ?? {}
    if (this.#isStopped || this.#running.has(id)) return undefined
    const isAlone = this.#running.size === 0
    const may = isOnTrial ? this.#trials.mayBegin(id, isAlone) : isNested || !this.isHeld
    if (!may) return undefined
    const taken = takenBy(spec, share)
    if (!hasRoom(this.#free, taken)) return undefined
    this.#free = difference(this.#free, taken)
    const slots = spec.requirements.cpuMilli / 1_000
    const running = {
      submitter,
      slots,
      sinceMs: this.#nowMs(),
      estimateMs: estimateMs ?? 0,
      log: ''
    }
    this.#running.set(id, running)
    if (isOnTrial) this.#trials.begun(id)
    return this.#run(assignment, { running, taken }, options)
  }

  async #run(
    { id, spec, input, after, fencingToken, isOnTrial = false }: Assignment,
    { running, taken }: { running: Running; taken: Free },
    options: { signal: AbortSignal; onProgress?: (value: Uint8Array) => void }
  ): Promise<Ran> {
    const { code, task, limits } = spec
    const work = { id, code, exportName: task, input, after, limits, fencingToken }
    let usedMs: number | undefined
    try {
      const result = await this.#executor.run(work, {
        ...options,
        onLog: (line) => {
          running.log = `${running.log}${line}\n`.slice(-LOG_LENGTH_MAX)
        }
      })
      if (result.kind !== 'lost') usedMs = result.durationMs
      if (result.kind === 'done') this.#noteDuration(spec, result.durationMs)
      return { result, logs: running.log }
    } finally {
      const { submitter, slots, sinceMs } = running
      const nowMs = this.#nowMs()
      this.#shares.charge(submitter, slots * (usedMs ?? nowMs - sinceMs), nowMs)
      this.#running.delete(id)
      if (isOnTrial) this.#trials.ended()
      this.#free = sum(this.#free, taken)
      for (const listener of this.#listeners) listener()
    }
  }

  #noteDuration(spec: JobSpec, durationMs: number): void {
    const kind = kindOf(spec)
    const before = this.#estimates.get(kind) ?? durationMs
    // The newest kinds are at the end.
    this.#estimates.delete(kind)
    this.#estimates.set(kind, before + (durationMs - before) / 8)
    const [oldest] = this.#estimates.keys()
    if (this.#estimates.size > ESTIMATES_MAX && oldest !== undefined) this.#estimates.delete(oldest)
  }
}

const kinds = new WeakMap<JobSpec, string>()

/** Thousands of tasks have the same spec. */
function kindOf(spec: JobSpec): string {
  const known = kinds.get(spec)
  if (known !== undefined) return known
  const { code, task } = spec
  const kind = code.kind === 'exec' ? `exec ${code.command}` : `${code.cid} ${task}`
  kinds.set(spec, kind)
  return kind
}

/** Who runs tasks of a mesh, as jobs know it. */
export function workerName(peer: PeerId): string {
  return peer
}

function takenBy({ requirements }: JobSpec, share: number): Free {
  const { cpuMilli, memoryBytes, gpu } = requirements
  return {
    cpuMilli: Math.ceil(cpuMilli / share),
    memoryBytes: Math.ceil(memoryBytes / share),
    gpus: gpu
  }
}

function hasRoom(free: Free, taken: Free): boolean {
  return (
    free.cpuMilli >= taken.cpuMilli &&
    free.memoryBytes >= taken.memoryBytes &&
    free.gpus >= taken.gpus
  )
}

function sum(a: Free, b: Free): Free {
  return {
    cpuMilli: a.cpuMilli + b.cpuMilli,
    memoryBytes: a.memoryBytes + b.memoryBytes,
    gpus: a.gpus + b.gpus
  }
}

function difference(a: Free, b: Free): Free {
  return sum(a, { cpuMilli: -b.cpuMilli, memoryBytes: -b.memoryBytes, gpus: -b.gpus })
}
