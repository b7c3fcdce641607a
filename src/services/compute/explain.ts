// Why tasks of a job aren't running: what the job itself waits for, and what each node says.

import { fromUtf8 } from '../../base/bytes.ts'
import { errorMessage, isMeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import { formatDuration } from '../../base/units.ts'
import type { Clock } from '../../base/clock.ts'
import { jobSpace } from '../../core/machine/job-names.ts'
import { JOB_GET, JOB_TASKS, type JobView } from '../../core/machine/job-queries.ts'
import { JOB_PAGE_MAX } from '../../core/machine/limits.ts'
import type { MeshView } from '../../mesh/view.ts'
import type { CallOptions, Shards } from '../../shard/shards.ts'
import type { Reason } from '../../wire/job.ts'
import type { JobPeers } from './job-peers.ts'
import { decodeSpec, partsOf } from './spec.ts'

/** Nobody can tell anything of a job without its shard, so this is not waited for long. */
const TIMEOUT_MS = 5_000

type PeerReasons = {
  readonly peer: PeerId
  /** Tasks of the job that it runs. */
  readonly running: number
  /** Empty: it would run one. */
  readonly reasons: readonly Reason[]
}

export type Explanation = {
  readonly id: string
  /** What the job waits for, whatever the nodes have. */
  readonly reasons: readonly Reason[]
  readonly peers: readonly PeerReasons[]
}

export type ExplainComponents = {
  readonly shards: Shards
  readonly clock: Clock
  readonly mesh: Pick<MeshView, 'self' | 'others'>
  readonly peers: Pick<JobPeers, 'explain'>
}

/** @throws not-found, invalid-argument */
export async function explainJob(
  { shards, mesh, peers }: ExplainComponents,
  id: string,
  options: CallOptions = {}
): Promise<Explanation> {
  const calls = { timeoutMs: TIMEOUT_MS, ...options }
  const views: { space: Uint8Array; view: JobView }[] = []
  const reasons: Reason[] = []
  let count = 1
  for (let part = 0; part < count; part++) {
    const space = jobSpace({ id, part })
    try {
      const view = (await shards.query({ space }, JOB_GET, { space }, calls)).result
      views.push({ space, view })
      count = partsOf(decodeSpec(view.job.spec))
    } catch (error) {
      if (!isMeshError(error) || error.code === 'not-found') throw error
      // What it was when it was last seen is better than nothing.
      const text = `its shard doesn't answer: ${error.message}`
      reasons.push({ code: error.code === 'timeout' ? 'no-quorum' : error.code, text })
      const query = { ...calls, isStale: true }
      const stale = await shards.query({ space }, JOB_GET, { space }, query).catch(() => undefined)
      if (stale !== undefined) views.push({ space, view: stale.result })
    }
  }
  for (const { space, view } of views) reasons.push(...(await jobReasons(shards, space, view)))
  const [first] = views
  if (first === undefined) return { id, reasons: unique(reasons), peers: [] }
  const { job } = first.view
  const { spec } = job
  const { submitter } = job.policy
  const call = { kind: 'explain', spec, submitter, space: fromUtf8(first.space) } as const
  const asked = await Promise.all(
    [mesh.self, ...mesh.others()].map(async (peer): Promise<PeerReasons> => {
      try {
        const { running, reasons: own } = await peers.explain(peer, call)
        return { peer, running, reasons: own }
      } catch (error) {
        const text = `it doesn't answer: ${errorMessage(error)}`
        return { peer, running: 0, reasons: [{ code: 'unreachable', text }] }
      }
    })
  )
  return { id, reasons: unique(reasons), peers: asked }
}

async function jobReasons(shards: Shards, space: Uint8Array, view: JobView): Promise<Reason[]> {
  const { state, job, readyCount, nextReadyMs } = view
  const reasons: Reason[] = []
  if (state.phase !== 'open') return [{ code: state.phase, text: `the job is ${state.phase}` }]
  if (readyCount === 0 && nextReadyMs !== undefined) {
    const when = formatDuration(Math.max(0, nextReadyMs))
    reasons.push({ code: 'retry', text: `tasks that failed are tried again, the next in ${when}` })
  }
  const waiting = job.stages.findIndex(({ after }, place) => {
    const isBegun = (state.stages[place]?.cursor ?? 0) > (job.stages[place]?.from ?? 0)
    return after.length > 0 && !isBegun
  })
  if (waiting >= 0) {
    const names = decodeSpec(job.spec).stages
    const name = names?.[waiting]?.name ?? String(waiting)
    reasons.push({ code: 'dependency', text: `stage "${name}" waits for the stages before it` })
  }
  const tasks = { space, from: 0, limit: JOB_PAGE_MAX, states: ['waiting' as const] }
  const page = await shards.query({ space }, JOB_TASKS, tasks, { isStale: true })
  const blocked = page.result.tasks.find(({ record: { error, failures } }) => {
    return error !== undefined && (failures === 0 || error.code === 'not-found')
  })
  if (blocked?.record.error !== undefined) {
    const { code, message } = blocked.record.error
    const text = `task ${job.first + blocked.task}: ${message}`
    reasons.push({ code: code === 'not-found' ? 'input-missing' : 'blocked', text })
  }
  for (const worker of state.denied) {
    reasons.push({ code: 'unfit', text: `${worker} could not run its tasks and gets no more` })
  }
  return reasons
}

function unique(reasons: readonly Reason[]): Reason[] {
  return [...new Map(reasons.map((reason) => [`${reason.code} ${reason.text}`, reason])).values()]
}
