// Making a job and beginning with it, by who submits it: one entry and one round trip for both.

import { flag, optional, record, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import { JOB_GRANT, JOB_SUBMIT } from './job-calls.ts'
import type { GrantArgs, GrantResult, SubmitArgs, SubmitResult } from './job-calls.ts'
import { GRANT_TASKS } from './job-grant.ts'
import { worker } from './job-records.ts'
import { SUBMIT_JOB } from './job-submit.ts'
import type { Operation } from './operation.ts'

/** What a worker would take of a job as soon as it is there; it has no lease of it yet. */
export type Claim = Omit<GrantArgs, 'lease'>

export type StartArgs = {
  readonly submit: SubmitArgs
  readonly claim: Claim
}

export type StartResult = {
  readonly submitted: SubmitResult
  /** undefined: the job was there already. */
  readonly granted: GrantResult | undefined
}

const claimCodec: Codec<Claim> = record<Claim>({
  worker,
  ttlMs: uint,
  limit: uint,
  isSpeculativeAllowed: flag
})

/**
 * {@link JOB_SUBMIT} and, of a job that is new, the first {@link JOB_GRANT}; refuses as both do. A new
 * version of either makes a new one of this.
 */
export const START_JOB: Operation<StartArgs, StartResult> = {
  name: 'job.start',
  version: 1,
  args: record<StartArgs>({ submit: JOB_SUBMIT.args, claim: claimCodec }),
  result: record<StartResult>({
    submitted: JOB_SUBMIT.result,
    granted: optional(JOB_GRANT.result)
  }),
  apply: (transaction, { submit, claim }) => {
    const submitted = SUBMIT_JOB.apply(transaction, submit)
    if (!submitted.isNew) return { submitted, granted: undefined }
    const granted = GRANT_TASKS.apply(transaction, { ...claim, lease: 0 })
    return { submitted, granted }
  }
}
