// Gives parts of jobs to their shards, from a node: it may begin with them at once.

import type { Clock } from '../../base/clock.ts'
import { blockId } from '../../base/ids.ts'
import { KIB } from '../../base/units.ts'
import { blockIdToBytes } from '../../core/block/block-id.ts'
import type { SubmitArgs } from '../../core/machine/job-calls.ts'
import type { Claim, StartResult } from '../../core/machine/job-start.ts'
import type { Answered, CallOptions, Shards } from '../../shard/shards.ts'
import type { Files } from '../files/files.ts'
import type { Keeper } from '../files/uploader.ts'
import { JobPart } from './job-part.ts'
import type { PartRequest } from './job-request.ts'
import type { PartSubmitted, PartSubmitter } from './jobs.ts'
import type { FoundJob } from './known-job.ts'
import { encodeManifest } from './manifest.ts'
import { encodeSpec, type ManifestRef } from './spec.ts'

/** Inputs up to this go with the job itself: no blocks, and one entry in a log. */
const INLINE_BYTES_MAX: number = 3 * KIB

/** Gives a job to its shard, with what this node would take of it at once. */
export type Give = (claim: Claim | undefined) => Promise<Answered<StartResult>>

export type NodeSubmitterComponents = {
  readonly shards: Shards
  readonly clock: Clock
  readonly files: Pick<Files, 'putFor'>
  /** Says what this node would take, and tells all nodes that there is work. */
  readonly begin: (job: FoundJob, give: Give) => Promise<Answered<StartResult>>
}

/** Submits parts from this node itself. */
export class NodeSubmitter implements PartSubmitter {
  readonly #components: NodeSubmitterComponents

  constructor(components: NodeSubmitterComponents) {
    this.#components = components
  }

  async submit(request: PartRequest, options: CallOptions): Promise<PartSubmitted> {
    const { inputs } = request
    const part = new JobPart(this.#components, request)
    const inputBytes = inputs.reduce((sum, input) => sum + input.length + 8, 0)
    if (inputBytes > INLINE_BYTES_MAX) return await this.#withManifest(part, request, options)
    const args = argsOf(request, { manifest: { kind: 'inline', inputs } })
    return await this.#give(part, args, options)
  }

  async #withManifest(
    part: JobPart,
    request: PartRequest,
    options: CallOptions
  ): Promise<PartSubmitted> {
    let submitted = { isNew: false, revision: 0 }
    const keeper: Keeper = {
      cycle: (_, calls) => part.cycle(calls),
      keep: async ({ id, cycle }, calls) => {
        const manifest = { kind: 'file', path: id } as const
        const args = argsOf(request, { manifest, blocks: { id, cycle } })
        submitted = await this.#give(part, args, { ...options, ...calls })
        return undefined
      }
    }
    await this.#components.files.putFor(encodeManifest(request.inputs), keeper, options)
    return submitted
  }

  async #give(part: JobPart, args: SubmitArgs, options: CallOptions): Promise<PartSubmitted> {
    const { count, policy, stages, spec } = args
    const counts = { done: 0, failed: 0, running: 0, waiting: 0 }
    const known = { policy, stages, count, counts, medianMs: undefined, denied: [] }
    const { result, revision } = await this.#components.begin(
      { ...known, space: part.space, spec },
      async (claim) => await part.submit(args, claim, options)
    )
    return { isNew: result.submitted.isNew, revision }
  }
}

function argsOf(
  { first, stages, policy, spec, inputs }: PartRequest,
  { manifest, blocks }: { manifest: ManifestRef; blocks?: { id: string; cycle: number } }
): SubmitArgs {
  const { code } = spec
  return {
    first,
    count: inputs.length,
    stages,
    policy,
    manifest: blocks === undefined ? new Uint8Array(0) : blockIdToBytes(blockId(blocks.id)),
    code: code.kind === 'exec' ? undefined : blockIdToBytes(blockId(code.cid)),
    spec: encodeSpec({ ...spec, manifest }),
    cycle: blocks?.cycle
  }
}
