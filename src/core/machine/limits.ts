// What a shard takes at most. All replicas must decide alike, so none of these is an option of a
// node: to change one is to change what entries mean, and needs a new version of the operations
// that it is about. What an operator may want to change is in the state itself (`settings`).

import { assert } from '../../base/assert.ts'
import { DAY_MS, KIB, MIB, MINUTE_MS, SECOND_MS } from '../../base/units.ts'
import { STORED_KEY_BYTES_MAX } from './ordered-state.ts'

/** A user's key; a NUL in it counts twice, for it is stored as two bytes. */
export const KEY_BYTES_MAX: number = KIB
/** What stands before the first slash of a key. */
export const SPACE_BYTES_MAX = 255
/** Larger things are blocks. */
export const VALUE_BYTES_MAX: number = 256 * KIB
/** An entry: one command with all its operations. */
export const COMMAND_BYTES_MAX: number = 512 * KIB
/** What one command, or one page of a read, answers. */
export const ANSWER_BYTES_MAX: number = 512 * KIB
/** Keys that one operation may change: all of them become visible at once. */
export const CHANGES_PER_OPERATION_MAX = 2_048
/** Entries on a page of a range, or deleted by one range. */
export const RANGE_COUNT_MAX = 1_000
/** Keys that a page of a range looks at, of which at a past revision many may be gone. */
export const RANGE_SCAN_MAX = 4_000
/** Changes of the shard that one call for a watch looks at. */
export const WATCH_SCAN_MAX = 4_096

/** Time to live of a lease. Shorter ones would end whenever a leader does. */
export const LEASE_TTL_MS_MIN: number = SECOND_MS
export const LEASE_TTL_MS_MAX: number = DAY_MS
/** Keys that end with one lease, in one revision. */
export const LEASE_KEYS_MAX = 1_024
/** Once so many keys went with leases, the leases left are for the next entry. */
export const EXPIRED_KEYS_PER_ENTRY = 1_024
/** An entry may move the shard's time so far; `machine-time.ts` says why. */
export const TIME_STEP_MS_MAX: number = DAY_MS

/** Clients whose requests a shard remembers. */
export const CLIENTS_MAX = 2_048
/** A client that asks nothing for so long is forgotten. */
export const CLIENT_TTL_MS: number = 60 * MINUTE_MS
/** A full table drops its idlest client for a new one, when it was idle for so long. */
export const CLIENT_IDLE_MS_MIN: number = CLIENT_TTL_MS / 4
/** How exact the time of a client's last request is kept: not each request has to write it. */
export const CLIENT_ACTIVE_STEP_MS: number = CLIENT_TTL_MS / 8
/** Answers remembered for a client, so also the requests that it may have under way. */
export const ANSWERS_PER_CLIENT = 256
/** And their bytes. */
export const ANSWERS_BYTES_PER_CLIENT: number = 512 * KIB
/** Clients forgotten while one entry is applied. */
export const EXPIRED_CLIENTS_PER_ENTRY = 16

/** Changes undone by compaction while one entry is applied: more than an entry usually makes. */
export const COMPACTED_PER_ENTRY = 64
/** The same while space is short. */
export const COMPACTED_PER_ENTRY_PRESSED = 1_024
/** What stays readable while space is short. */
export const RETAIN_MS_PRESSED: number = 10 * SECOND_MS

export const LOCK_NAME_BYTES_MAX = 512
/** A text of the holder's, for people to read. */
export const LOCK_OWNER_BYTES_MAX = 256
/** Who may wait for one lock. */
export const LOCK_WAITERS_MAX = 1_024

/** Bytes of a file's, directory's or volume's name in UTF-8. */
export const FILE_NAME_BYTES_MAX = 255
/** Names of a path, the volume's not counted. */
export const FILE_DEPTH_MAX = 128
/** Versions of a file that are kept, the newest included. */
export const FILE_VERSIONS_MAX = 16
/** Entries of removed directories that one operation gives back. */
export const FILE_REAP_COUNT_MAX = 1_000

/** Jobs of a shard, ended ones included. */
export const JOBS_MAX = 4_096
/** Tasks of one record; a job that has more is several records. */
export const JOB_TASKS_MAX = 4_096
export const JOB_STAGES_MAX = 256
/** Stages that wait for another, counted for each that they wait for. */
export const JOB_STAGE_EDGES_MAX = 1_024
/** Letters and digits of a job's name. */
export const JOB_ID_LENGTH_MAX = 200
/** What services keep with a job. */
export const JOB_SPEC_BYTES_MAX: number = 8 * KIB
/** A name of blocks, which the machine doesn't look into. */
export const JOB_CID_BYTES_MAX = 64
/** A result in the record itself. Larger ones are blocks. */
export const JOB_RESULT_BYTES_MAX: number = 4 * KIB
export const JOB_ERROR_BYTES_MAX: number = KIB
export const JOB_ERROR_CODE_LENGTH_MAX = 64
export const JOB_SUBMITTER_BYTES_MAX = 64
export const JOB_WORKER_LENGTH_MAX = 128
/** Workers that hold a lease on a job at one time. */
export const JOB_WORKERS_MAX = 256
/** Attempts that a worker has at one time, of one job. */
export const JOB_GRANTS_MAX = 256
/** Tasks of one grant. */
export const JOB_GRANT_MAX = 64
/** Outcomes told at once. */
export const JOB_OUTCOMES_MAX = 256
/** Workers that a job remembers as unfit; of more the oldest is forgotten. */
export const JOB_DENIED_MAX = 64
export const JOB_RETRIES_MAX = 100
/** Workers that a task may lose before it is given up. */
export const JOB_LOSSES_MAX = 8
export const JOB_PRIORITY_MAX = 9
/** Tasks to be tried again that one grant looks at, and counts. */
export const JOB_READY_SCAN_MAX = 256
/** Tasks that are tried again, or keys that are removed, by one operation. */
export const JOB_STEP_MAX = 1_000
/** Jobs, tasks, workers or blocks on a page. */
export const JOB_PAGE_MAX = 256

export const QUOTA_BYTES_MIN: number = 64 * KIB

assert(VALUE_BYTES_MAX + 4 * KIB <= COMMAND_BYTES_MAX, 'a value fits a command')
assert(VALUE_BYTES_MAX + 4 * KIB <= ANSWER_BYTES_MAX, 'a value fits an answer')
assert(ANSWER_BYTES_MAX <= ANSWERS_BYTES_PER_CLIENT, 'an answer can be remembered')
assert(ANSWER_BYTES_MAX < MIB, 'an answer fits a frame')
assert(KEY_BYTES_MAX + 32 <= STORED_KEY_BYTES_MAX, 'a key fits the store, with what is added to it')
assert(LEASE_TTL_MS_MAX <= TIME_STEP_MS_MAX, 'the longest lease can end by one entry')
assert(
  2 * FILE_REAP_COUNT_MAX <= CHANGES_PER_OPERATION_MAX,
  'a directory in the trash has two keys'
)
assert(
  2 * (JOB_OUTCOMES_MAX + JOB_GRANTS_MAX + JOB_GRANT_MAX) + JOB_WORKERS_MAX + 8 <=
    CHANGES_PER_OPERATION_MAX,
  'two keys for a task, one for a worker'
)
assert(2 * JOB_STEP_MAX + 8 <= CHANGES_PER_OPERATION_MAX, 'a task that is tried again has two keys')
assert(JOB_TASKS_MAX <= 0xffff, 'the number of a task has four digits')
assert(LEASE_TTL_MS_MIN <= CLIENT_TTL_MS, 'nothing is due sooner than the shortest lease')
assert(2 * CLIENT_ACTIVE_STEP_MS <= CLIENT_IDLE_MS_MIN, 'who is dropped was idle')
