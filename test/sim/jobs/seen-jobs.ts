// The jobs of a shard as one of its replicas has them.

import { fromUtf8 } from '../../../src/base/bytes.ts'
import { JOB_LIST } from '../../../src/core/machine/job-listings.ts'
import { JOB_GET, JOB_TASKS, type JobView } from '../../../src/core/machine/job-queries.ts'
import type { TaskRecord } from '../../../src/core/machine/job-records.ts'
import { JOB_PAGE_MAX } from '../../../src/core/machine/limits.ts'
import type { MachineReads } from '../../../src/core/machine/reads.ts'
import type { Replica } from '../../../src/shard/replica.ts'
import type { JobsWorld } from './world.ts'

export type SeenJob = {
  readonly id: string
  readonly view: JobView
  readonly tasks: ReadonlyMap<number, TaskRecord>
}

/** @returns all jobs of a replica, by their names without the tilde */
export function jobsOf(reads: MachineReads): Map<string, SeenJob> {
  const { jobs } = JOB_LIST.read(reads, { after: undefined, limit: JOB_PAGE_MAX })
  return new Map(
    jobs.map(({ space }) => {
      const id = fromUtf8(space).slice(1)
      const view = JOB_GET.read(reads, { space })
      return [id, { id, view, tasks: tasksOf(reads, space) }]
    })
  )
}

function tasksOf(reads: MachineReads, space: Uint8Array): Map<number, TaskRecord> {
  const page = JOB_TASKS.read(reads, { space, from: 0, limit: JOB_PAGE_MAX, states: [] })
  return new Map(page.tasks.map(({ task, record }) => [task, record]))
}

/** @returns the replica of each shard that leads and is up to date; of some there may be none */
function leadersOf({ ready, plan }: JobsWorld): (Replica | undefined)[] {
  return Array.from({ length: plan.shardCount }, (_, shard) =>
    ready
      .flatMap(({ peer }) => peer.node?.shardLayer.host.replica(shard + 1) ?? [])
      .find(({ isReadyToLead }) => isReadyToLead)
  )
}

/** @returns all jobs of all shards, as their leaders have them */
export function allJobs(world: JobsWorld): Map<string, SeenJob> {
  const all = new Map<string, SeenJob>()
  for (const leader of leadersOf(world)) {
    if (leader === undefined) continue
    for (const [id, job] of jobsOf(leader.applied.machine.reads)) all.set(id, job)
  }
  return all
}
