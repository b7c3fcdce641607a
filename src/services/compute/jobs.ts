// Jobs that the mesh keeps: submitted once, they go on without their submitter.

import { fromUtf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import { DAY_MS, SECOND_MS } from '../../base/units.ts'
import { JOB_LIST, type JobSummary } from '../../core/machine/job-listings.ts'
import { checkJobId, parseJobSpace } from '../../core/machine/job-names.ts'
import type { JobPolicy } from '../../core/machine/job-policy.ts'
import { JOB_LOSSES_MAX, JOB_PAGE_MAX } from '../../core/machine/limits.ts'
import type { CallOptions, Shards } from '../../shard/shards.ts'
import { Job, type BlobReader } from './job.ts'
import { JobPart } from './job-part.ts'
import { partsOfRequest, type JobRequest, type PartRequest } from './job-request.ts'

/** Parts that are submitted side by side. */
const PARTS_AT_ONCE = 4

/** How a job is treated unless it says otherwise. */
export const POLICY_DEFAULTS: Omit<JobPolicy, 'submitter'> = {
  isPure: false,
  isLasting: false,
  retries: 3,
  retryBaseMs: SECOND_MS,
  retryMaxMs: 60 * SECOND_MS,
  lossesMax: 3,
  priority: 0,
  retainMs: DAY_MS,
  timeoutMs: 0
}

/** Of a task that ran for ten minutes failures and losses count anew; over one at once, eight workers. */
export const LASTING_POLICY: typeof POLICY_DEFAULTS = {
  ...POLICY_DEFAULTS,
  isLasting: true,
  lossesMax: JOB_LOSSES_MAX
}

/** Gives a part to its shard; a program that is no node has its node do it. */
export type PartSubmitter = {
  /** @throws exists, overloaded, quota-exceeded, no-quorum, … */
  submit(part: PartRequest, options: CallOptions): Promise<PartSubmitted>
}

/** Whether it is new, and the shard's revision then. */
export type PartSubmitted = { readonly isNew: boolean; readonly revision: number }

/** A job in a list. */
export type JobInfo = {
  readonly id: string
  readonly state: 'open' | 'ended' | 'cancelled'
  readonly total: number
  readonly done: number
  readonly failed: number
  readonly running: number
  readonly submitter: string
  readonly priority: number
}

/** Rejects as {@link Shards} does, besides what each method says. */
export class Jobs {
  readonly #components: { shards: Shards; clock: Clock; submitter: PartSubmitter; read: BlobReader }

  constructor(components: {
    shards: Shards
    clock: Clock
    submitter: PartSubmitter
    read: BlobReader
  }) {
    this.#components = components
  }

  /**
   * Submits a job, or finds the same one. When it resolves the job is durable, all parts of it.
   *
   * @throws exists (another job has this id), invalid-argument, too-large, overloaded, quota-exceeded
   */
  async submit<Value>(request: JobRequest, options: CallOptions = {}): Promise<Job<Value>> {
    checkJobId(request.id)
    const parts = partsOfRequest(request)
    // The first part is the last to be given: where it is, all are.
    const [first, ...others] = parts
    if (first === undefined) throw new MeshError('invalid-argument', 'A job has one task at least')
    const submitted = new Map<number, JobPart>()
    const left = [...others]
    const workers = Array.from({ length: Math.min(PARTS_AT_ONCE, left.length) }, async () => {
      for (let part = left.shift(); part !== undefined; part = left.shift())
        submitted.set(part.part, await this.#submit(part, options))
    })
    await Promise.all(workers)
    submitted.set(0, await this.#submit(first, options))
    return this.#job<Value>(request.id, submitted)
  }

  /** @returns the job with an id, whether there is one or not @throws invalid-argument */
  job<Value = unknown>(id: string): Job<Value> {
    checkJobId(id)
    return this.#job<Value>(id, new Map())
  }

  #job<Value>(id: string, submitted: ReadonlyMap<number, JobPart>): Job<Value> {
    const { read } = this.#components
    const partOf = (part: number): JobPart =>
      submitted.get(part) ?? new JobPart(this.#components, { id, part })
    return new Job<Value>(id, { partOf, read, submittedCount: submitted.size })
  }

  async #submit(request: PartRequest, options: CallOptions): Promise<JobPart> {
    const { id, part, first, inputs } = request
    const { isNew, revision } = await this.#components.submitter.submit(request, options)
    const seen = { first, count: inputs.length, isOpen: true, revision }
    return new JobPart(this.#components, { id, part, submitted: isNew ? seen : undefined })
  }

  /** All jobs of the mesh, by id. */
  async list(options: CallOptions = {}): Promise<JobInfo[]> {
    const { shards } = this.#components
    const found = await Promise.all(
      Array.from({ length: shards.count }, async (_, shard) => {
        const all: JobSummary[] = []
        let after: Uint8Array | undefined
        do {
          const args = { after, limit: JOB_PAGE_MAX }
          const page = (await shards.query({ shard }, JOB_LIST, args, options)).result
          all.push(...page.jobs.filter(({ isRemoved }) => !isRemoved))
          after = page.next?.slice()
        } while (after !== undefined)
        return all
      })
    )
    const byId = Map.groupBy(
      found.flat(),
      ({ space }) => parseJobSpace(space)?.id ?? fromUtf8(space)
    )
    const infos = [...byId].map(([id, parts]) => infoOf(id, parts))
    return infos.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  }
}

function infoOf(id: string, parts: readonly JobSummary[]): JobInfo {
  const sum = (of: (part: JobSummary) => number): number =>
    parts.reduce((total, part) => total + of(part), 0)
  const isOpen = parts.some(({ phase }) => phase === 'open')
  const isCancelled = parts.some(({ phase }) => phase === 'cancelled')
  const [{ policy }] = parts as [JobSummary]
  return {
    id,
    state: isOpen ? 'open' : isCancelled ? 'cancelled' : 'ended',
    total: sum(({ count }) => count),
    done: sum(({ counts }) => counts.done),
    failed: sum(({ counts }) => counts.failed),
    running: sum(({ counts }) => counts.running),
    submitter: policy.submitter,
    priority: policy.priority
  }
}
