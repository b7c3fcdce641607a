// The inputs of tasks that are about to run here: of one grant they are read together, and what a
// task builds on is read where the job has it.

import { MeshError } from '../../base/errors.ts'
import { blockIdFromBytes } from '../../core/block/block-id.ts'
import type { Clock } from '../../base/clock.ts'
import type { TaskResult } from '../../core/machine/job-records.ts'
import type { Dependency } from '../../executor/executor.ts'
import { encodeValue } from '../../executor/values.ts'
import type { Shards } from '../../shard/shards.ts'
import type { Files } from '../files/files.ts'
import { readAll } from '../files/read-all.ts'
import { JobPart } from './job-part.ts'
import { ManifestReader } from './manifest.ts'
import type { JobAbout } from './pulled-job.ts'
import type { ResultRef } from './result-ref.ts'

/** Jobs whose manifests are known. */
const JOBS_MAX = 64
/** Inputs that were read and not taken yet. */
const READY_MAX = 1_024

export type Input = { readonly input: Uint8Array; readonly after: readonly Dependency[] }

type Known = {
  readonly inputs: (from: number, to: number) => Promise<readonly Uint8Array[]>
  readonly ready: Map<number, Input>
  /** Of stages whose results are told by reference: the same for all tasks that come after them. */
  readonly refs: Map<number, Promise<readonly Uint8Array[]>>
  reading: Promise<void> | undefined
}

export class JobInputs {
  readonly #components: { shards: Shards; clock: Clock; files: Pick<Files, 'get'> }
  readonly #jobs = new Map<string, Known>()

  constructor(components: { shards: Shards; clock: Clock; files: Pick<Files, 'get'> }) {
    this.#components = components
  }

  /** @returns the input of a task, once it was read */
  ready(about: JobAbout, task: number): Input | undefined {
    return this.#jobs.get(about.name)?.ready.get(task)
  }

  /** A task has its input. */
  taken(about: JobAbout, task: number): void {
    this.#jobs.get(about.name)?.ready.delete(task)
  }

  /** Reads the inputs of some tasks. @throws what reading throws; not-found */
  async read(about: JobAbout, tasks: readonly number[]): Promise<void> {
    const known = this.#known(about)
    while (known.reading !== undefined) await known.reading
    const missing = tasks.filter((task) => !known.ready.has(task)).slice(0, READY_MAX)
    if (missing.length === 0) return
    const reading = this.#read(about, known, missing)
    known.reading = reading.catch(() => {}).finally(() => (known.reading = undefined))
    await reading
  }

  forget(about: JobAbout): void {
    this.#jobs.delete(about.name)
  }

  async #read(about: JobAbout, known: Known, tasks: readonly number[]): Promise<void> {
    for (const { from, to } of runsOf(tasks)) {
      const inputs = await known.inputs(from, to)
      for (const [index, input] of inputs.entries()) {
        const task = from + index
        known.ready.set(task, { input, after: await this.#after(about, known, task) })
      }
    }
  }

  /** What the stages before have come to. */
  async #after(about: JobAbout, known: Known, task: number): Promise<Dependency[]> {
    const { stages, spec } = about
    const stage = stages.find(({ from, to }) => task >= from && task < to)
    const { files } = this.#components
    return await Promise.all(
      (stage?.after ?? []).map(async (place) => {
        const { name = String(place), isOne = false, isByReference } = spec.stages?.[place] ?? {}
        if (isByReference !== true) {
          const results = await this.#results(about, place)
          const outputs = await Promise.all(results.map((result) => outputOf(result, files)))
          return { name, isOne, outputs }
        }
        const refs =
          known.refs.get(place) ??
          this.#results(about, place).then((results) =>
            results.map((one) => encodeValue(refOf(one)))
          )
        known.refs.set(place, refs)
        refs.catch(() => known.refs.delete(place))
        return { name, isOne, outputs: await refs }
      })
    )
  }

  async #results({ id, stages }: JobAbout, place: number): Promise<TaskResult[]> {
    const stage = stages[place]
    if (stage === undefined) throw new MeshError('invalid-data', `There is no stage ${place}`)
    const { from, to } = stage
    const part = new JobPart(this.#components, { id, part: 0 })
    return await Promise.all(
      Array.from({ length: to - from }, async (_, index) => {
        const result = (await part.task(from + index, {}))?.result
        if (result !== undefined) return result
        throw new MeshError('not-found', 'What the task builds on has no result')
      })
    )
  }

  #known(about: JobAbout): Known {
    const known = this.#jobs.get(about.name)
    if (known !== undefined) return known
    const made: Known = {
      inputs: this.#reader(about),
      ready: new Map(),
      refs: new Map(),
      reading: undefined
    }
    const [oldest] = this.#jobs.keys()
    if (this.#jobs.size >= JOBS_MAX && oldest !== undefined) this.#jobs.delete(oldest)
    this.#jobs.set(about.name, made)
    return made
  }

  #reader({ spec }: JobAbout): Known['inputs'] {
    const { manifest } = spec
    if (manifest.kind === 'inline') {
      return (from, to) => Promise.resolve(manifest.inputs.slice(from, to))
    }
    const { files } = this.#components
    const reader = new ManifestReader(
      async (range) => await readAll(files.get(manifest.path, range))
    )
    return async (from, to) => await reader.inputs(from, to)
  }
}

async function outputOf(result: TaskResult, files: Pick<Files, 'get'>): Promise<Uint8Array> {
  return result.kind === 'inline'
    ? result.value
    : await readAll(files.get(blockIdFromBytes(result.cid)))
}

function refOf(result: TaskResult): ResultRef {
  if (result.kind === 'inline') return { value: result.value }
  return { cid: blockIdFromBytes(result.cid), bytes: result.bytes }
}

/** @returns tasks that follow each other, together. */
function* runsOf(tasks: readonly number[]): Generator<{ from: number; to: number }> {
  const sorted = tasks.toSorted((a, b) => a - b)
  let run: { from: number; to: number } | undefined
  for (const task of sorted) {
    if (run !== undefined && task <= run.to) run = { from: run.from, to: task + 1 }
    else {
      if (run !== undefined) yield run
      run = { from: task, to: task + 1 }
    }
  }
  if (run !== undefined) yield run
}
