// The work of a node, from its parts: what it gives to tasks, and which shards it looks after.

import { totalmem } from 'node:os'
import type { Logger } from '../base/log.ts'
import type { Offer } from '../core/jobs/requirements.ts'
import type { ClientSource } from '../executor/process/messages.ts'
import { ProcessExecutor } from '../executor/process/process-executor.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { LedShard } from '../services/compute/job-keeper.ts'
import { NodeCompute } from '../services/compute/node-compute.ts'
import type { Files } from '../services/files/files.ts'
import { readAll } from '../services/files/read-all.ts'
import type { ShardLayer } from '../shard/shard-layer.ts'
import type { NodeComponents, NodeSetup } from './node.ts'
import type { ResolvedOptions } from './options.ts'
import { systemClock } from './system-clock.ts'

/** Share of the machine's memory that tasks may have unless told otherwise. */
const MEMORY_SHARE = 0.6

export type WorkSetup = {
  readonly offer: Offer
  /** How fast the node is, in thousandths of the usual one. */
  readonly speedMilli: number
}

export function workOf(
  components: NodeComponents,
  about: { setup: NodeSetup; mesh: Mesh; files: Files; shardLayer: ShardLayer }
): NodeCompute {
  const { setup, mesh, files, shardLayer } = about
  const { host, router } = shardLayer
  const ledShards = (): LedShard[] =>
    [...host.replicas()].flatMap(({ isLeader, group, applied: { index } }) =>
      isLeader && group > 0 ? [{ shard: group - 1, index }] : []
    )
  return new NodeCompute(
    { ...components, mesh, files, shards: router, ledShards },
    { meshId: setup.founding.meshId, ...setup.work }
  )
}

/** @returns what a node gives to tasks, as its options say */
export function workSetupOf(
  { slots, speed, gpus, taskMemoryBytes, allowExec, accepts }: ResolvedOptions,
  labels: readonly (readonly [string, string])[]
): WorkSetup {
  return {
    offer: {
      cpuMilli: slots * 1_000,
      memoryBytes: taskMemoryBytes ?? Math.floor(totalmem() * MEMORY_SHARE),
      gpus,
      labels: new Map(labels),
      allowsExec: allowExec,
      accepts: { submitters: accepts }
    },
    speedMilli: Math.round(speed * 1_000)
  }
}

/** Tasks of the mesh run in processes of their own. */
export function executorOf(
  about: { dir: string; resolved: ResolvedOptions; log: Logger },
  nodeOf: () => { readonly files: Files; readonly taskClient: ClientSource | undefined }
): ProcessExecutor {
  const { dir, resolved, log } = about
  return new ProcessExecutor(
    {
      clock: systemClock,
      logger: log,
      loadCode: async (cid, { signal }) => await readAll(nodeOf().files.get(cid, { signal }))
    },
    {
      folder: dir,
      slots: Math.max(1, resolved.slots),
      memoryBytesMax: workSetupOf(resolved, []).offer.memoryBytes,
      allowExec: resolved.allowExec,
      client: () => nodeOf().taskClient
    }
  )
}
