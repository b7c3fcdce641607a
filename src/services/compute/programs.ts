// What nodes and connections to them offer alike: the short names of work on the mesh.

import type { CallOptions } from '../../shard/shards.ts'
import type { Compute, MapOptions, Runnable, RunOptions, SubmitOptions } from './compute.ts'
import type { Job } from './job.ts'
import type { JobInfo } from './jobs.ts'
import type { Kv } from '../kv/kv.ts'
import {
  Topologies,
  type BundledTopology,
  type RunningTopology,
  type TopologyInfo
} from '../topology/topologies.ts'
import type { TopologyDefinition } from '../topology/definition.ts'

export abstract class Programs {
  /** Work on the mesh; the methods here are its own. */
  abstract readonly compute: Compute
  abstract readonly kv: Kv

  /** See {@link Compute.run}. */
  async run<Input, Output>(
    task: Runnable<Input, Output>,
    input?: Input,
    options?: RunOptions
  ): Promise<Awaited<Output>> {
    return await this.compute.run(task, input, options)
  }

  /** See {@link Compute.map}. */
  map<Input, Output>(
    task: Runnable<Input, Output>,
    inputs: Iterable<Input> | AsyncIterable<Input>,
    options?: MapOptions
  ): AsyncGenerator<Awaited<Output>> {
    return this.compute.map(task, inputs, options)
  }

  /** See {@link Compute.submit}. */
  async submit<Input, Output>(
    task: Runnable<Input, Output>,
    inputs: Iterable<Input>,
    options?: SubmitOptions
  ): Promise<Job<Awaited<Output>>> {
    return await this.compute.submit(task, inputs, options)
  }

  /** See {@link Compute.job}. */
  job<Value = unknown>(id: string): Job<Value> {
    return this.compute.job<Value>(id)
  }

  /** See {@link Compute.jobs}. */
  async jobs(options?: CallOptions): Promise<JobInfo[]> {
    return await this.compute.jobs(options)
  }

  /** See {@link Topologies.deploy}. */
  async deploy(
    topology: TopologyDefinition | BundledTopology,
    options?: CallOptions
  ): Promise<RunningTopology> {
    return await this.#topologies.deploy(topology, options)
  }

  /** A topology that was deployed, here or elsewhere. */
  topology(name: string): RunningTopology {
    return this.#topologies.get(name)
  }

  /** All topologies of the mesh. */
  async topologies(options?: CallOptions): Promise<TopologyInfo[]> {
    return await this.#topologies.list(options)
  }

  get #topologies(): Topologies {
    return new Topologies(this)
  }
}
