// What a task is given.

import type { Files } from '../../files/files.ts'
import type { Kv } from '../../kv/kv.ts'
import type { Locks } from '../../locks/locks.ts'
import type { StreamsClient } from '../../streams/streams.ts'

export type TaskContext<Input = unknown> = {
  /** The same as the second argument. */
  readonly input: Input
  /** Aborted when the task is cancelled or its time is over; 200 ms later it is ended by force. */
  readonly signal: AbortSignal
  /** Of two attempts at a task the later one has the higher: what is written to can refuse a lower. */
  readonly fencingToken: number
  /** What the tasks before it returned, by the names of their stages. */
  readonly after: Readonly<Record<string, unknown>>
  /** Kept with the task's outcome, the last 256 KiB. */
  log(...values: readonly unknown[]): void
  progress(value: unknown): void
  readonly files: Pick<Files, 'get' | 'put' | 'stat' | 'ls' | 'mkdir' | 'mv' | 'rm'>
  readonly kv: Kv
  readonly locks: Locks
  /** Batches from program to program, as operators of topologies send them. */
  readonly streams: StreamsClient
}
