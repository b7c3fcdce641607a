// The jobs of a shard as one of its replicas has them.

import { fromUtf8 } from '../../../src/base/bytes.ts'
import { JOB_LIST } from '../../../src/core/machine/job-listings.ts'
import { JOB_GET, JOB_TASKS, type JobView } from '../../../src/core/machine/job-queries.ts'
import type { TaskRecord } from '../../../src/core/machine/job-records.ts'
import { JOB_PAGE_MAX } from '../../../src/core/machine/limits.ts'
import type { MachineReads } from '../../../src/core/machine/reads.ts'
import type { Replica } from '../../../src/shard/replica.ts'
import type { JobsWorld } from './world.ts'

export type SeenJob = { readonly view: JobView; readonly tasks: ReadonlyMap<number, TaskRecord> }

/** Of a replica, by names without the tilde. */
type Views = ReadonlyMap<string, JobView>

/** @returns all jobs, by their names without the tilde */
export function jobsOf(reads: MachineReads): Map<string, SeenJob> {
  return new Map(
    spacesOf(reads).map((space) => {
      const view = JOB_GET.read(reads, { space })
      return [idOf(space), { view, tasks: tasksOf(reads, space) }]
    })
  )
}

function spacesOf(reads: MachineReads): Uint8Array[] {
  const { jobs } = JOB_LIST.read(reads, { after: undefined, limit: JOB_PAGE_MAX })
  return jobs.map(({ space }) => space)
}

function idOf(space: Uint8Array): string {
  return fromUtf8(space).slice(1)
}

function tasksOf(reads: MachineReads, space: Uint8Array): Map<number, TaskRecord> {
  const page = JOB_TASKS.read(reads, { space, from: 0, limit: JOB_PAGE_MAX, states: [] })
  return new Map(page.tasks.map(({ task, record }) => [task, record]))
}

/** @returns the replica of each shard that leads and is up to date; of some there may be none */
function leadersOf({ ready, plan }: JobsWorld): Replica[] {
  const shards = Array.from({ length: plan.shardCount }, (_, shard) => shard)
  return shards.flatMap((shard) => {
    const hosts = ready.flatMap(({ peer }) => peer.node?.shardLayer.host ?? [])
    const replicas = hosts.flatMap((host) => host.replica(shard + 1) ?? [])
    return replicas.find(({ isReadyToLead }) => isReadyToLead) ?? []
  })
}

/** What was read of a replica is the same until it applies more. */
const known = new WeakMap<Replica, { readonly index: number; readonly views: Views }>()

function viewsOf(replica: Replica): Views {
  const { index, machine } = replica.applied
  const before = known.get(replica)
  if (before?.index === index) return before.views
  const { reads } = machine
  const spaces = spacesOf(reads)
  const views = new Map(spaces.map((space) => [idOf(space), JOB_GET.read(reads, { space })]))
  known.set(replica, { index, views })
  return views
}

/** @returns all jobs of all shards, as their leaders have them, without their tasks */
export function allViews(world: JobsWorld): Map<string, JobView> {
  return new Map(leadersOf(world).flatMap((leader) => [...viewsOf(leader)]))
}

/** @returns all jobs of all shards, as their leaders have them */
export function allJobs(world: JobsWorld): Map<string, SeenJob> {
  const all = leadersOf(world).map(({ applied }) => jobsOf(applied.machine.reads))
  return new Map(all.flatMap((jobs) => [...jobs]))
}
