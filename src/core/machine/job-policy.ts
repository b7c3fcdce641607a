// How a job's tasks are treated, as whoever submits it says.

import { malformed } from './byte-fields.ts'
import { record, text, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import { JOB_SUBMITTER_BYTES_MAX } from './limits.ts'

export type JobPolicy = {
  /**
   * A task may be done twice without harm: a late result of an earlier attempt is taken, and a slow
   * attempt may get a second one beside it.
   */
  readonly isPure: boolean
  /**
   * Its tasks go on until they are told to end, for months: what befell one before an attempt of it
   * ran well counts no more.
   */
  readonly isLasting: boolean
  /** How often a task that failed is tried again, 0 to 100. Losses of workers aren't counted. */
  readonly retries: number
  /** A retry comes after 0 to this, doubled with each failure, … */
  readonly retryBaseMs: number
  /** … up to this. */
  readonly retryMaxMs: number
  /**
   * A task is given up when so many different workers were lost over it, 1 to 8, or any four times
   * as often.
   */
  readonly lossesMax: number
  /** 0 to 9; higher goes first. */
  readonly priority: number
  /** Whose share the job counts to. */
  readonly submitter: string
  /** How long an ended job stays; whoever removes jobs looks at it. */
  readonly retainMs: number
  /** How long an attempt may take, 0 for ever; workers look at it. */
  readonly timeoutMs: number
}

type PolicyFlags = Pick<JobPolicy, 'isPure' | 'isLasting'>
const policyFields: Codec<Omit<JobPolicy, keyof PolicyFlags>> = record<
  Omit<JobPolicy, keyof PolicyFlags>
>({
  retries: uint,
  retryBaseMs: uint,
  retryMaxMs: uint,
  lossesMax: uint,
  priority: uint,
  submitter: text(JOB_SUBMITTER_BYTES_MAX),
  retainMs: uint,
  timeoutMs: uint
})

export const jobPolicyCodec: Codec<JobPolicy> = {
  write: (writer, policy) => {
    writer.byte((policy.isPure ? 1 : 0) + (policy.isLasting ? 2 : 0))
    policyFields.write(writer, policy)
  },
  read: (reader) => {
    const flags = reader.byte()
    if (flags > 3) throw malformed('a policy has unknown flags')
    const fields = policyFields.read(reader)
    return { isPure: flags % 2 === 1, isLasting: flags >= 2, ...fields }
  }
}
