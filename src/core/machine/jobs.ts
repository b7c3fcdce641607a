// The service of jobs; job-names.ts has its keys, job-calls.ts what may be asked.

import { COMPLETE_TASKS } from './job-complete.ts'
import { CANCEL_JOB, RECALL_WORKER, REMOVE_JOB, RETRY_TASKS } from './job-end.ts'
import { GRANT_TASKS } from './job-grant.ts'
import { onJobLeaseEnd } from './job-loss.ts'
import { JOB_BLOCKS, JOB_LIST, JOB_OPEN } from './job-listings.ts'
import { JOB_GET, JOB_TASKS, JOB_WORKERS } from './job-queries.ts'
import { START_JOB } from './job-start.ts'
import { SUBMIT_JOB } from './job-submit.ts'
import type { Service } from './operation.ts'
import { AREAS } from './state-keys.ts'

export const JOBS: Service = {
  areas: [
    AREAS.job,
    AREAS['job-state'],
    AREAS['job-task'],
    AREAS['job-worker'],
    AREAS['job-ready'],
    AREAS['job-open']
  ],
  operations: [
    SUBMIT_JOB,
    // What version 2 takes besides, no entry of version 1 has.
    { ...SUBMIT_JOB, version: 1 },
    START_JOB,
    GRANT_TASKS,
    COMPLETE_TASKS,
    RECALL_WORKER,
    CANCEL_JOB,
    RETRY_TASKS,
    REMOVE_JOB
  ],
  queries: [JOB_GET, JOB_TASKS, JOB_OPEN, JOB_LIST, JOB_WORKERS, JOB_BLOCKS],
  onLeaseEnd: onJobLeaseEnd
}
