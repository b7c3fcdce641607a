// All that a node has for work, put together: what runs tasks, what asks for them, what others ask.

import type { Clock } from '../../base/clock.ts'
import type { MeshId, PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import type { Offer } from '../../core/jobs/requirements.ts'
import type { Executor } from '../../executor/executor.ts'
import type { MeshView } from '../../mesh/view.ts'
import type { Network } from '../../net/network.ts'
import type { CallOptions, Shards } from '../../shard/shards.ts'
import type { Files } from '../files/files.ts'
import { readAll } from '../files/read-all.ts'
import { Leases } from '../leases/leases.ts'
import { CodeShelf } from './code-shelf.ts'
import { Compute } from './compute.ts'
import { Ephemeral } from './ephemeral.ts'
import { explainJob, type Explanation } from './explain.ts'
import { JobBoard } from './job-board.ts'
import { JobInputs } from './job-inputs.ts'
import { JobKeeper, type LedShard } from './job-keeper.ts'
import { JobPeers } from './job-peers.ts'
import { Jobs } from './jobs.ts'
import { NodeSubmitter } from './node-submitter.ts'
import { TaskRunner } from './task-runner.ts'
import { Worker } from './worker.ts'

export type NodeComputeComponents = {
  readonly network: Network
  readonly mesh: MeshView
  readonly shards: Shards
  readonly files: Files
  readonly executor: Executor
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** Shards of which this node leads the group. */
  readonly ledShards: () => readonly LedShard[]
}

export type NodeComputeOptions = {
  readonly meshId: MeshId
  /** What the node gives to tasks. */
  readonly offer: Offer
  /** How fast it is, in thousandths of the usual node. */
  readonly speedMilli: number
}

export class NodeCompute {
  readonly compute: Compute
  readonly jobs: Jobs
  readonly submitter: NodeSubmitter
  readonly ephemeral: Ephemeral
  readonly #peers: JobPeers
  readonly #components: NodeComputeComponents
  readonly #board: JobBoard
  readonly #worker: Worker
  readonly #keeper: JobKeeper
  readonly #leases: Leases
  readonly #runner: TaskRunner

  /** Registers its protocols, so it is made before the network is started. */
  constructor(components: NodeComputeComponents, options: NodeComputeOptions) {
    const { network, mesh, shards, files, clock, random, log } = components
    const { self } = mesh
    const basic = { shards, clock, log }
    this.#components = components
    const runner = new TaskRunner(
      { executor: components.executor, nowMs: () => clock.monotonicMs() },
      options
    )
    this.#runner = runner
    this.#leases = new Leases(basic)
    const topic = `/atoll/${options.meshId}/offers`
    this.#board = new JobBoard({ ...basic, network, random, self }, { topic })
    const inputs = new JobInputs({ shards, clock, files })
    const board = this.#board
    this.#worker = new Worker(
      { ...basic, self, files, leases: this.#leases, runner, inputs, board, random },
      { shareOf: () => shareOf(mesh, options.speedMilli) }
    )
    const runningOf = (space: string): number => this.#worker.runningOf(space)
    this.#peers = new JobPeers({ network, runner, runningOf })
    const { ledShards } = components
    this.#keeper = new JobKeeper({ ...basic, network, board, files, ledShards })
    this.ephemeral = new Ephemeral({ runner, peers: this.#peers, mesh, clock, random, log })
    this.submitter = new NodeSubmitter({
      shards,
      clock,
      files,
      begin: async (job, give) => await this.#worker.begin(job, give)
    })
    const read = async (cid: string, calls: object): Promise<Uint8Array> =>
      await readAll(files.get(cid, calls))
    this.jobs = new Jobs({ shards, clock, submitter: this.submitter, read })
    const shelf = new CodeShelf({ files, clock })
    this.compute = new Compute({
      files,
      shelf,
      jobs: this.jobs,
      random,
      submitter: submitterOf(self),
      runEphemeral: (task, signal) => this.ephemeral.run(task, signal),
      isCrowded: () => this.ephemeral.isCrowded
    })
  }

  /** Messages with offers of jobs that this node has gossiped. */
  get offersPublished(): number {
    return this.#board.published
  }

  /** Why tasks of a job aren't running. @throws not-found */
  async explain(id: string, options: CallOptions = {}): Promise<Explanation> {
    const { shards, clock, mesh } = this.#components
    return await explainJob({ shards, clock, mesh, peers: this.#peers }, id, options)
  }

  async start(): Promise<void> {
    await this.#components.executor.start()
    this.#worker.start()
    this.#keeper.start()
  }

  /** Gives back what runs here, and ends it. */
  async stop(): Promise<void> {
    this.#runner.stop()
    this.#board.stop()
    this.ephemeral.stop()
    await this.#keeper.stop()
    await this.#worker.stop()
    await this.#leases.stop()
    await this.#components.executor.stop()
  }
}

/** Whose share the work of a node's own programs counts to. */
function submitterOf(self: PeerId): string {
  return self.slice(-16)
}

/** Nodes are taken for as fast as the usual one, unless this one knows better of itself. */
function shareOf(mesh: MeshView, speedMilli: number): { speed: number; speedSum: number } {
  const others = mesh.others().filter((peer) => mesh.isReachable(peer)).length
  return { speed: speedMilli, speedSum: speedMilli + 1_000 * others }
}
