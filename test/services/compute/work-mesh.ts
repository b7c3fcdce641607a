// A simulated mesh whose tasks do what a test says, and tell where and when they ran.

import { assert } from '../../../src/base/assert.ts'
import type { ErrorCode } from '../../../src/base/errors.ts'
import { MIB, SECOND_MS } from '../../../src/base/units.ts'
import { REQUIREMENTS_DEFAULTS } from '../../../src/core/jobs/requirements.ts'
import {
  JOB_GET,
  JOB_TASKS,
  jobOf,
  type JobView,
  type TaskView
} from '../../../src/core/machine/job-queries.ts'
import { jobSpace } from '../../../src/core/machine/job-names.ts'
import type { JobPolicy } from '../../../src/core/machine/job-policy.ts'
import { JOB_PAGE_MAX } from '../../../src/core/machine/limits.ts'
import { failed, type Work } from '../../../src/executor/executor.ts'
import { MemoryExecutor, type MemoryTask } from '../../../src/executor/memory/memory-executor.ts'
import { decodeValue, encodeValue } from '../../../src/executor/values.ts'
import type { Node } from '../../../src/node/node.ts'
import type { Explanation } from '../../../src/services/compute/explain.ts'
import type { Job, JobProgress, TaskValue } from '../../../src/services/compute/job.ts'
import type { JobRequest } from '../../../src/services/compute/job-request.ts'
import { POLICY_DEFAULTS } from '../../../src/services/compute/jobs.ts'
import type { TestMeshOptions } from '../../../src/testing/contract.ts'
import type { SimulatedWork } from '../../../src/testing/simulated-peer.ts'
import type { SimulatedMesh } from '../../../src/testing/test-mesh.ts'
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts'
import { nodeAt, simulatedMesh } from '../../faults/simulated.ts'

export const CID = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'

type Asked = Omit<Partial<JobRequest>, 'policy' | 'requirements'> & {
  policy?: Partial<JobPolicy>
  requirements?: Partial<JobRequest['requirements']>
}

/** A job of so many tasks, each with its number as input. */
export function request(id: string, count: number, asked: Asked = {}): JobRequest {
  const { policy, requirements, ...more } = asked
  return {
    id,
    code: { kind: 'bundle', cid: CID },
    task: 'double',
    limits: { timeoutMs: 60 * SECOND_MS, memoryBytes: MIB },
    requirements: { ...REQUIREMENTS_DEFAULTS, memoryBytes: MIB, ...requirements },
    policy: { ...POLICY_DEFAULTS, submitter: 'test', ...policy },
    inputs: Array.from({ length: count }, (_, index) => encodeValue(index)),
    ...more
  }
}

/** A task that began somewhere. */
export type Begun = {
  /** The index of the node. */
  readonly node: number
  /** The job's, with its tilde; `run` or a submitter for one that is waited for. */
  readonly space: string
  readonly task: number
  readonly attempt: number
  /** What is run. */
  readonly name: string
  readonly atMs: number
}

/** @returns the tasks that began, in order of their numbers. */
export function tasksOf(begun: readonly Begun[]): number[] {
  return begun.map(({ task }) => task).toSorted((a, b) => a - b)
}

/** @returns a task that ends with a value after a time. */
export function returns(value: unknown, durationMs = 10): MemoryTask {
  return { durationMs, result: { kind: 'done', output: encodeValue(value), durationMs } }
}

/** @returns a task that fails. */
export function fails(
  code: ErrorCode,
  options: { durationMs?: number; isRetryable?: boolean } = {}
): MemoryTask {
  const { durationMs = 10, isRetryable = true } = options
  const error = { code, message: `It said ${code}` }
  return { durationMs, result: failed(error, { isRetryable, durationMs }) }
}

export type WorkMeshOptions = TestMeshOptions & {
  /** What tasks do; unless given, they return what they were given, after 10 ms. */
  behave?: (begun: Begun, work: Work) => MemoryTask
}

export class WorkMesh implements AsyncDisposable {
  readonly mesh: SimulatedMesh
  /** All that began, in order. */
  readonly begun: Begun[]

  private constructor(mesh: SimulatedMesh, begun: Begun[]) {
    this.mesh = mesh
    this.begun = begun
  }

  static async create({ behave, ...options }: WorkMeshOptions): Promise<WorkMesh> {
    const begun: Begun[] = []
    let clock: VirtualClock | undefined
    const workOf = (index: number): SimulatedWork => ({
      behave: (work) => {
        const one = begunOf(index, work, clock?.monotonicMs() ?? 0)
        begun.push(one)
        return behave?.(one, work) ?? returns(decodeValue(work.input))
      },
      ...options.workOf?.(index)
    })
    const mesh = await simulatedMesh({ ...options, workOf })
    clock = mesh.clock
    return new WorkMesh(mesh, begun)
  }

  get clock(): VirtualClock {
    return this.mesh.clock
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh.stop()
  }

  /** As it is, without moving time. */
  node(index: number): Node {
    const { node } = this.mesh.peers[index] ?? {}
    assert(node !== undefined, 'the peer runs')
    return node
  }

  executor(index: number): MemoryExecutor {
    const { executor } = this.mesh.peers[index] ?? {}
    assert(executor instanceof MemoryExecutor, 'the executor is in memory')
    return executor
  }

  async submit(asked: JobRequest, through = 0): Promise<Job> {
    return await this.clock.run(this.node(through).work.jobs.submit(asked))
  }

  /** Waits for the end of a job. @param limitMs virtual time that it may take */
  async wait(id: string, through = 0, limitMs = 600_000): Promise<JobProgress> {
    return await this.clock.run(this.node(through).work.jobs.job(id).wait(), limitMs)
  }

  async progress(id: string, through = 0): Promise<JobProgress> {
    return await this.clock.run(this.node(through).work.jobs.job(id).progress())
  }

  async values(id: string, through = 0): Promise<TaskValue<unknown>[]> {
    const job = this.node(through).work.jobs.job(id)
    return await this.all(job.results())
  }

  /** All items of a sequence. */
  async all<T>(items: AsyncIterable<T>): Promise<T[]> {
    const collect = async (): Promise<T[]> => {
      const found: T[] = []
      for await (const item of items) found.push(item)
      return found
    }
    return await this.clock.run(collect())
  }

  async explain(id: string, through = 0): Promise<Explanation> {
    return await this.clock.run(this.node(through).work.explain(id))
  }

  /** Lets time pass until something is so. */
  async until(isSo: () => boolean, limitMs = 60_000, stepMs = 10): Promise<void> {
    const endMs = this.clock.monotonicMs() + limitMs
    while (!isSo()) {
      assert(this.clock.monotonicMs() < endMs, `it is so within ${limitMs} ms: ${String(isSo)}`)
      await this.clock.advance(stepMs)
    }
  }

  /** What began of a job. */
  of(id: string): Begun[] {
    return this.begun.filter(({ space }) => space === `~${id}`)
  }

  /** The group of a job's first part. */
  groupOf(id: string): number {
    return nodeAt(this.mesh, 0).shards.shardOf(jobSpace({ id, part: 0 })) + 1
  }

  /** The index of the node that leads a job's shard; undefined while there is none. */
  leaderOf(id: string): number | undefined {
    const index = this.mesh.peers.findIndex(({ node }) => {
      return node?.shardLayer.host.replica(this.groupOf(id))?.isReadyToLead === true
    })
    return index < 0 ? undefined : index
  }

  /** Indexes of nodes with a replica of a job's shard. */
  holdersOf(id: string): number[] {
    return this.mesh.peers.flatMap(({ node }, index) =>
      node?.shardLayer.host.replica(this.groupOf(id)) === undefined ? [] : [index]
    )
  }

  /** @returns a name for a job whose shard's members are as wanted. */
  idWhere(isWanted: (id: string) => boolean): string {
    for (let number = 0; number < 1_000; number++) {
      if (isWanted(`job-${number}`)) return `job-${number}`
    }
    throw new Error('No job is like that')
  }

  /** A job as a node's replica has it now; undefined before it is there. */
  seen(id: string, index: number): JobView | undefined {
    const space = jobSpace({ id, part: 0 })
    const replica = this.node(index).shardLayer.host.replica(this.groupOf(id))
    if (replica === undefined) return undefined
    const { reads } = replica.applied.machine
    return jobOf(reads, space) === undefined ? undefined : JOB_GET.read(reads, { space })
  }

  /** A job as its shard has it. */
  async view(id: string, through = 0): Promise<JobView> {
    const space = jobSpace({ id, part: 0 })
    const { shards } = this.node(through)
    return (await this.clock.run(shards.query({ space }, JOB_GET, { space }))).result
  }

  /** The tasks of a job of which something is known. */
  async tasks(id: string, through = 0): Promise<readonly TaskView[]> {
    const space = jobSpace({ id, part: 0 })
    const args = { space, from: 0, limit: JOB_PAGE_MAX, states: [] }
    const { shards } = this.node(through)
    return (await this.clock.run(shards.query({ space }, JOB_TASKS, args))).result.tasks
  }
}

function begunOf(node: number, { id, exportName }: Work, atMs: number): Begun {
  const [space = '', task, attempt] = id.split('/')
  return { node, space, task: Number(task), attempt: Number(attempt), name: exportName, atMs }
}
