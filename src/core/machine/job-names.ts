// Where jobs stand, and how they are called.
//
//   job         ~ID                     what was asked: never changes
//   job-state   ~ID                     how far it is
//   job-open    ~ID                     there while tasks may be granted
//   job-task    ~ID/TASK                a task that something happened to besides a first grant
//   job-worker  ~ID/WORKER              the attempts that a worker has, under its lease
//   job-ready   ~ID/NOTBEFORE/TASK      a task to be tried again, and when at the earliest
//
// A job is the space `~ID`. One with more tasks than a record may have is cut into parts, each a job
// of its own in its own shard: `~ID`, then `~ID~1`, `~ID~2` and so on. Tasks are numbered within a
// part.

import { concatBytes, fromUtf8, utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { JOB_ID_LENGTH_MAX, JOB_WORKER_LENGTH_MAX } from './limits.ts'
import { sortableDigits } from './ordered-state.ts'
import { shown, spanOfPrefix } from './space.ts'
import type { Span } from './space.ts'

const TASK_DIGITS = 4
const TIME_DIGITS = 14
const SLASH: Uint8Array = utf8('/')
const JOB_ID = new RegExp(`^[A-Za-z0-9._-]{1,${JOB_ID_LENGTH_MAX}}$`)
const JOB_SPACE = new RegExp(`^~([A-Za-z0-9._-]{1,${JOB_ID_LENGTH_MAX}})(?:~([1-9][0-9]{0,8}))?$`)
const WORKER = new RegExp(`^[A-Za-z0-9._-]{1,${JOB_WORKER_LENGTH_MAX}}$`)

/** A part of a job; 0 is the first, and mostly the only one. */
export type JobPart = { readonly id: string; readonly part: number }

/** @throws invalid-argument */
export function checkJobId(id: string): void {
  if (JOB_ID.test(id)) return
  const rule = `it has 1 to ${JOB_ID_LENGTH_MAX} letters, digits, dots, dashes and underscores`
  throw new MeshError('invalid-argument', `"${id.slice(0, 80)}" is no name of a job: ${rule}`)
}

/** @returns the space of a part of a job. @throws invalid-argument */
export function jobSpace({ id, part }: JobPart): Uint8Array {
  checkJobId(id)
  const space = utf8(part === 0 ? `~${id}` : `~${id}~${part}`)
  if (parseJobSpace(space) === undefined) {
    throw new MeshError('invalid-argument', `${part} is no part of a job; parts count from 0`)
  }
  return space
}

/** @returns undefined when it is no space of a job. */
export function parseJobSpace(space: Uint8Array): JobPart | undefined {
  const text = String.fromCharCode(...space.subarray(0, 256))
  const [, id, part] = JOB_SPACE.exec(text) ?? []
  return id === undefined ? undefined : { id, part: Number(part ?? 0) }
}

/** @throws invalid-argument */
export function checkJobSpace(space: Uint8Array): void {
  if (parseJobSpace(space) !== undefined) return
  const rule = 'a job is the space ~ID, a further part of it ~ID~1 and so on'
  throw new MeshError('invalid-argument', `"${shown(space)}" is no job: ${rule}`)
}

/** @throws invalid-argument */
export function checkWorker(worker: string): void {
  if (WORKER.test(worker)) return
  const rule = `it has 1 to ${JOB_WORKER_LENGTH_MAX} letters, digits, dots, dashes and underscores`
  throw new MeshError('invalid-argument', `"${worker.slice(0, 80)}" is no worker's name: ${rule}`)
}

export function taskKey(space: Uint8Array, task: number): Uint8Array {
  return concatBytes([space, SLASH, sortableDigits(task, TASK_DIGITS)])
}

/** @returns the task of a key in `job-task` or `job-ready`. */
export function taskOfKey(key: Uint8Array): number {
  return Number.parseInt(fromUtf8(key.subarray(-TASK_DIGITS)), 16)
}

export function workerKey(space: Uint8Array, worker: string): Uint8Array {
  return concatBytes([space, SLASH, utf8(worker)])
}

/** @returns the worker of a key in `job-worker`. */
export function workerOfKey(key: Uint8Array): string {
  return fromUtf8(key.subarray(key.indexOf(SLASH[0] as number) + 1))
}

export function readyKey(space: Uint8Array, notBeforeMs: number, task: number): Uint8Array {
  const time = sortableDigits(notBeforeMs, TIME_DIGITS)
  return concatBytes([space, SLASH, time, SLASH, sortableDigits(task, TASK_DIGITS)])
}

/** @returns the time before which a key in `job-ready` isn't due. */
export function notBeforeOfKey(key: Uint8Array): number {
  const end = key.length - TASK_DIGITS - 1
  return Number.parseInt(fromUtf8(key.subarray(end - TIME_DIGITS, end)), 16)
}

/** @returns what of `job-ready` is due at a time. */
export function dueSpan(space: Uint8Array, timeMs: number): Span {
  return { from: spanOfJob(space).from, to: readyKey(space, timeMs + 1, 0) }
}

/** @returns all keys of a job in an area that has several. */
export function spanOfJob(space: Uint8Array): Span {
  return spanOfPrefix(concatBytes([space, SLASH]))
}
