// What nodes ask of each other about tasks: run these now, would you, why don't you, what have they
// printed. protocols/job.

import { equalBytes } from '../../base/bytes.ts'
import type { PeerId } from '../../base/ids.ts'
import { MeshError, toMeshError } from '../../base/errors.ts'
import { SECOND_MS } from '../../base/units.ts'
import type { Network } from '../../net/network.ts'
import {
  decodeJobCall,
  decodeJobReply,
  encodeJobCall,
  encodeJobReply,
  JOB_FRAME_BYTES_MAX,
  JOB_PROTOCOL,
  JOB_SERVED_MAX,
  type ExplainCall,
  type ExplainedReply,
  type JobCall,
  type JobReply,
  type LogsCall,
  type ProbeCall,
  type ProbedReply,
  type RunCall,
  type TaskOutcome
} from '../../wire/job.ts'
import { decodeSpec, type JobSpec } from './spec.ts'
import type { TaskRunner } from './task-runner.ts'

const PROBE_MS: number = 2 * SECOND_MS
/** Besides what the tasks themselves may take: until their code is there, and the answer here. */
const RUN_EXTRA_MS: number = 30 * SECOND_MS

export type JobPeersComponents = {
  readonly network: Pick<Network, 'handle' | 'request' | 'peerId'>
  readonly runner: TaskRunner
  /** Tasks of a job that run here. */
  readonly runningOf: (space: string) => number
}

export class JobPeers {
  readonly #components: JobPeersComponents
  #lastRun = 0
  #last: { bytes: Uint8Array; spec: JobSpec } | undefined

  /** Registers its protocol, so it is made before the network is started. */
  constructor(components: JobPeersComponents) {
    this.#components = components
    components.network.handle(
      JOB_PROTOCOL,
      { frameBytesMax: JOB_FRAME_BYTES_MAX, servedPerPeerMax: JOB_SERVED_MAX },
      async (body, { signal }) => encodeJobReply(await this.#answer(decodeJobCall(body), signal))
    )
  }

  /** Has tasks run by a peer, or here. @throws unreachable, timeout, or the signal's reason */
  async run(
    peer: PeerId,
    call: RunCall,
    options: { signal: AbortSignal }
  ): Promise<readonly TaskOutcome[]> {
    if (peer === this.#components.network.peerId) return await this.#run(call, options.signal)
    const timeoutMs = call.limits.timeoutMs + RUN_EXTRA_MS
    const reply = await this.#ask(peer, call, { timeoutMs, signal: options.signal })
    if (reply.kind === 'ran') return reply.outcomes
    throw unexpected(reply)
  }

  /** @throws unreachable, timeout */
  async probe(peer: PeerId, call: ProbeCall): Promise<ProbedReply> {
    if (peer === this.#components.network.peerId) return this.#probe(call)
    const reply = await this.#ask(peer, call, { timeoutMs: PROBE_MS })
    if (reply.kind === 'probed') return reply
    throw unexpected(reply)
  }

  /** @throws unreachable, timeout */
  async explain(peer: PeerId, call: ExplainCall): Promise<ExplainedReply> {
    if (peer === this.#components.network.peerId) return this.#explain(call)
    const reply = await this.#ask(peer, call, { timeoutMs: PROBE_MS })
    if (reply.kind === 'explained') return reply
    throw unexpected(reply)
  }

  /** @returns what an attempt that runs at a peer has printed @throws not-found, unreachable, timeout */
  async logs(peer: PeerId, call: LogsCall): Promise<string> {
    if (peer === this.#components.network.peerId) return this.#logs(call)
    const reply = await this.#ask(peer, call, { timeoutMs: PROBE_MS })
    if (reply.kind === 'logs') return reply.text
    throw unexpected(reply)
  }

  async #ask(
    peer: PeerId,
    call: JobCall,
    options: { timeoutMs: number; signal?: AbortSignal }
  ): Promise<JobReply> {
    const { network } = this.#components
    return decodeJobReply(await network.request(peer, JOB_PROTOCOL, encodeJobCall(call), options))
  }

  async #answer(call: JobCall, signal: AbortSignal): Promise<JobReply> {
    switch (call.kind) {
      case 'run':
        return { kind: 'ran', outcomes: await this.#run(call, signal) }
      case 'probe':
        return this.#probe(call)
      case 'explain':
        return this.#explain(call)
      case 'logs':
        return { kind: 'logs', text: this.#logs(call) }
    }
  }

  /** J-4: what has no room is answered at once, and never waits. */
  async #run(call: RunCall, signal: AbortSignal): Promise<TaskOutcome[]> {
    const { code, task, limits } = call
    const said = this.#specOf(call.spec)
    // J-8: what is run decides, not what is said of it.
    const requirements = { ...said.requirements, isExec: code.kind === 'exec' }
    const spec: JobSpec = { ...said, code, task, limits, requirements }
    return await Promise.all(
      call.tasks.map(async ({ id, input, fencingToken }) => {
        const { submitter } = call
        const name = `run/${submitter}/${(this.#lastRun += 1)}`
        // A buffer that the frame came in holds many inputs; the executor keeps what it is given.
        const assignment = { id: name, spec, submitter, input: input.slice(), fencingToken }
        return await this.#runOne(id, assignment, signal)
      })
    )
  }

  /** Calls of one caller mostly have the same. */
  #specOf(bytes: Uint8Array): JobSpec {
    if (this.#last === undefined || !equalBytes(this.#last.bytes, bytes)) {
      this.#last = { bytes: bytes.slice(), spec: decodeSpec(bytes) }
    }
    return this.#last.spec
  }

  async #runOne(
    id: number,
    assignment: Parameters<TaskRunner['tryRun']>[0],
    signal: AbortSignal
  ): Promise<TaskOutcome> {
    const { runner } = this.#components
    const busy = { id, kind: 'busy', durationMs: 0, logs: '' } as const
    const { spec, submitter } = assignment
    if (runner.lacks(spec, { submitter, isFreeCounted: false }).length > 0) return busy
    try {
      const ran = runner.tryRun(assignment, { signal })
      if (ran === undefined) return busy
      const { result, logs } = await ran
      if (result.kind === 'lost') return { id, ...result, durationMs: 0, logs }
      const { durationMs } = result
      if (result.kind === 'done')
        return { id, kind: 'done', output: result.output, durationMs, logs }
      const { error, isRetryable } = result
      const { code, message } = error
      return { id, kind: 'failed', code, message, isRetryable, durationMs, logs }
    } catch (error) {
      signal.throwIfAborted()
      const { code, message } = toMeshError(error)
      return { id, kind: 'failed', code, message, isRetryable: true, durationMs: 0, logs: '' }
    }
  }

  #probe({ spec, submitter }: ProbeCall): ProbedReply {
    const { runner } = this.#components
    const { cpuMilli } = runner.offer
    const lacks = runner.lacks(decodeSpec(spec), { submitter, isFreeCounted: false })
    return {
      kind: 'probed',
      slots: Math.floor(cpuMilli / 1_000),
      freeSlots: runner.freeSlots,
      waiting: 0,
      speedMilli: runner.speedMilli,
      reasons: lacks.map(({ code, message }) => ({ code, text: message }))
    }
  }

  #explain({ spec, submitter, space }: ExplainCall): ExplainedReply {
    const { runner, runningOf } = this.#components
    const lacks = runner.lacks(decodeSpec(spec), { submitter, isFreeCounted: true })
    const reasons = lacks.map(({ code, message }) => ({ code, text: message }))
    return { kind: 'explained', reasons, running: runningOf(space) }
  }

  /** @throws not-found */
  #logs({ space, task, attempt }: LogsCall): string {
    const text = this.#components.runner.logsOf(`${space}/${task}/${attempt}`)
    if (text !== undefined) return text
    throw new MeshError('not-found', `Attempt ${attempt} of task ${task} does not run here`)
  }
}

function unexpected({ kind }: JobReply): MeshError {
  return new MeshError('invalid-data', `A peer answered with "${kind}", which was not asked for`)
}
