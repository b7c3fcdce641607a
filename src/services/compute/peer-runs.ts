// Tasks that other nodes run for callers of this one: small ones of a kind are sent together.

import { errorMessage } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import { INPUT_BYTES_MAX } from '../../wire/job-task.ts'
import { RUN_TASKS_MAX, type TaskOutcome } from '../../wire/job.ts'
import type { JobPeers } from './job-peers.ts'
import { encodedSpec, type PeerChoice } from './peer-choice.ts'
import type { WaitingTask } from './waiting-task.ts'

/** Work that is sent to a peer at once, by the estimate. */
const BATCH_MS = 20
/** Bytes of inputs of one batch. */
const BATCH_BYTES = 524_288

export type PeerRunsComponents = {
  readonly peers: Pick<JobPeers, 'run'>
  readonly choice: PeerChoice
  readonly log: Logger
}

export class PeerRuns {
  readonly #components: PeerRunsComponents
  readonly #stopping: AbortSignal
  readonly #onEnded: (waiting: WaitingTask, outcome: TaskOutcome) => void

  constructor(
    components: PeerRunsComponents,
    options: {
      stopping: AbortSignal
      onEnded: (waiting: WaitingTask, outcome: TaskOutcome) => void
    }
  ) {
    this.#components = components
    this.#stopping = options.stopping
    this.#onEnded = options.onEnded
  }

  /** Sends tasks of one kind; of each it is told how it ended. Never rejects. */
  async send(peer: PeerId, batch: readonly [WaitingTask, ...WaitingTask[]]): Promise<void> {
    const { choice, log } = this.#components
    const over = new AbortController()
    // Nobody waits for any of them any more.
    const onAbort = (): void => {
      if (batch.every((waiting) => waiting.isSettled)) over.abort()
    }
    for (const { signal } of batch) signal.addEventListener('abort', onAbort)
    choice.sent(peer, 1)
    try {
      const outcomes = await this.#run(peer, batch, over.signal)
      for (const waiting of batch) {
        const outcome = outcomes.get(waiting.id) ?? lost(waiting, 'it was not answered')
        if (outcome.kind === 'busy') choice.avoid(peer, 'busy')
        if (outcome.kind === 'lost' && batch.length > 1) {
          // Its output may have had no room beside the others'.
          waiting.isAlone = true
          this.#onEnded(waiting, { ...outcome, kind: 'busy' })
        } else this.#onEnded(waiting, outcome)
      }
    } catch (error) {
      choice.avoid(peer, 'away')
      const reason = errorMessage(error)
      log.debug('ephemeral.unanswered', { peer, reason })
      for (const waiting of batch) this.#onEnded(waiting, lost(waiting, reason))
    } finally {
      for (const { signal } of batch) signal.removeEventListener('abort', onAbort)
      choice.sent(peer, -1)
    }
  }

  async #run(
    peer: PeerId,
    batch: readonly [WaitingTask, ...WaitingTask[]],
    over: AbortSignal
  ): Promise<Map<number, TaskOutcome>> {
    const { spec, submitter } = batch[0].task
    const { code, task, limits } = spec
    const tasks = batch.map(({ id, token, task: { input } }) => {
      return { id, input, fencingToken: token }
    })
    const about = { code, task, submitter, spec: encodedSpec(spec), limits, tasks }
    const signal = AbortSignal.any([over, this.#stopping])
    const outcomes = await this.#components.peers.run(peer, { kind: 'run', ...about }, { signal })
    return new Map(outcomes.map((outcome) => [outcome.id, outcome]))
  }
}

/** Whether a task can be run elsewhere at all. */
export function isSendable({ task }: WaitingTask): boolean {
  return task.input.length <= INPUT_BYTES_MAX
}

/** @returns those of a queue that go with its first one, as many as the slots do in a moment */
export function batchOf(
  queue: readonly WaitingTask[],
  first: WaitingTask,
  { freeSlots, estimateMs = Infinity }: { freeSlots: number; estimateMs: number | undefined }
): [WaitingTask, ...WaitingTask[]] {
  const each = Math.max(1, Math.floor(BATCH_MS / estimateMs))
  const countMax = first.isAlone ? 1 : Math.min(RUN_TASKS_MAX, freeSlots * each)
  const batch: [WaitingTask, ...WaitingTask[]] = [first]
  let bytes = first.task.input.length
  for (const waiting of queue) {
    if (batch.length >= countMax) break
    const { task, isSettled, isAlone } = waiting
    const { spec, submitter } = first.task
    if (waiting === first || isSettled || isAlone || !isSendable(waiting)) continue
    if (task.spec !== spec || task.submitter !== submitter) continue
    if (bytes + task.input.length > BATCH_BYTES) continue
    bytes += task.input.length
    batch.push(waiting)
  }
  return batch
}

function lost({ id }: WaitingTask, reason: string): TaskOutcome {
  return { id, kind: 'lost', reason, durationMs: 0, logs: '' }
}
