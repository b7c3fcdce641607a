// Tasks that a program waits for, run by the mesh through its node: small ones travel together.

import { Readable } from 'node:stream'
import { MeshError, toMeshError } from '../../base/errors.ts'
import type { EphemeralTask } from '../../services/compute/ephemeral.ts'
import { encodedSpec } from '../../services/compute/peer-choice.ts'
import {
  decodeJobReply,
  encodeJobCall,
  RUN_INPUTS_BYTES_MAX,
  RUN_TASKS_MAX,
  type TaskOutcome
} from '../../wire/job.ts'
import { concatBytes } from '../../base/bytes.ts'
import type { ApiClient } from '../http-client.ts'

/** Requests under way at one time. */
const REQUESTS_MAX = 32
/** Tasks of one request take about so long together. */
const BATCH_MS = 10

type Waiting = {
  readonly id: number
  readonly task: EphemeralTask
  readonly signal: AbortSignal
  readonly resolve: (outcome: TaskOutcome) => void
  readonly reject: (reason: unknown) => void
}

export class RemoteTasks {
  readonly #client: () => Promise<ApiClient>
  readonly #isNested: boolean
  #queue: Waiting[] = []
  #requests = 0
  #lastId = 0
  /** How long a task took lately. */
  #estimateMs = Infinity

  /** @param options.isNested whether this program is itself a task */
  constructor(client: () => Promise<ApiClient>, { isNested }: { isNested: boolean }) {
    this.#client = client
    this.#isNested = isNested
  }

  /** @throws overloaded, unreachable, stopped, or the signal's reason */
  async run(task: EphemeralTask, signal: AbortSignal): Promise<TaskOutcome> {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<TaskOutcome>()
    const id = (this.#lastId += 1)
    this.#queue.push({ id, task, signal, resolve, reject })
    if (this.#queue.length === 1) queueMicrotask(() => this.#send())
    // The request goes on for the others of its batch.
    const abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  #send(): void {
    while (this.#queue.length > 0 && this.#requests < REQUESTS_MAX) {
      const batch = this.#take()
      if (batch.length === 0) continue
      this.#requests += 1
      void this.#request(batch).finally(() => {
        this.#requests -= 1
        this.#send()
      })
    }
  }

  /** Tasks of one kind, in order. */
  #take(): Waiting[] {
    const waiting = this.#queue.filter(({ signal }) => !signal.aborted)
    const [first] = waiting
    const countMax = Math.min(RUN_TASKS_MAX, Math.max(1, Math.floor(BATCH_MS / this.#estimateMs)))
    const batch: Waiting[] = []
    const rest: Waiting[] = []
    let bytes = 0
    for (const one of waiting) {
      const { spec, priority, retries, input } = one.task
      const isSame =
        spec === first?.task.spec &&
        priority === first.task.priority &&
        retries === first.task.retries
      bytes += isSame ? input.length : 0
      const fits = batch.length === 0 || bytes <= RUN_INPUTS_BYTES_MAX
      if (isSame && fits && batch.length < countMax) batch.push(one)
      else rest.push(one)
    }
    this.#queue = rest
    return batch
  }

  async #request(batch: readonly Waiting[]): Promise<void> {
    const [first] = batch as [Waiting]
    const { spec, submitter, priority, retries } = first.task
    const { code, task, limits } = spec
    const tasks = batch.map((one) => ({ id: one.id, input: one.task.input, fencingToken: one.id }))
    const encoded = encodedSpec(spec)
    const call = encodeJobCall({ kind: 'run', code, task, submitter, spec: encoded, limits, tasks })
    const body = Readable.from([call], { objectMode: false })
    // Nobody waits any more.
    const over = new AbortController()
    const onAbort = (): void => {
      if (batch.every(({ signal }) => signal.aborted)) over.abort(first.signal.reason)
    }
    for (const { signal } of batch) signal.addEventListener('abort', onAbort)
    try {
      const client = await this.#client()
      const nested = this.#isNested ? '&nested=1' : ''
      const path = `tasks?priority=${priority}&retries=${retries}${nested}`
      const response = await client.stream(path, { method: 'POST', body, signal: over.signal })
      const parts: Uint8Array[] = []
      for await (const part of response) parts.push(part as Uint8Array)
      const reply = decodeJobReply(concatBytes(parts))
      if (reply.kind !== 'ran') throw new MeshError('invalid-data', 'The node answered otherwise')
      const byId = new Map(reply.outcomes.map((outcome) => [outcome.id, outcome]))
      for (const { id, resolve } of batch) {
        const outcome = byId.get(id)
        if (outcome === undefined) throw new MeshError('invalid-data', 'A task has no outcome')
        this.#noteDuration(outcome.durationMs)
        resolve(outcome)
      }
    } catch (error) {
      for (const { reject } of batch) reject(toMeshError(error))
    } finally {
      for (const { signal } of batch) signal.removeEventListener('abort', onAbort)
    }
  }

  #noteDuration(durationMs: number): void {
    const ms = Math.max(0.04, durationMs)
    this.#estimateMs =
      this.#estimateMs === Infinity ? ms : this.#estimateMs + (ms - this.#estimateMs) / 8
  }
}
