// What the main thread of the process for tasks and the threads that run them tell each other.

import type { Dependency } from '../executor.ts'
import type { ClientSource, Ending, Job } from './messages.ts'

/** What a thread is given when it starts. */
export type ThreadData = {
  /** The name of the broadcast channel that cancels its tasks. */
  readonly control: string
  readonly client: ClientSource | undefined
}

/** What is run in a thread. What isn't there isn't sent: with small tasks, messages are what costs. */
export type ThreadJob = Pick<
  Job,
  'number' | 'id' | 'exportName' | 'input' | 'fencingToken' | 'memoryBytes'
> & {
  readonly kind: 'bundle' | 'wasm'
  /** The file of the code. */
  readonly path: string
  readonly after?: readonly Dependency[]
}

export type ThreadAnswer = {
  readonly ending: Ending
  /** What the task said, and wasn't told yet. */
  readonly rest?: ThreadRest | undefined
}

export type ThreadRest = {
  /** With line feeds between them. */
  readonly lines: string
  readonly progress: Uint8Array | undefined
  /** How many events were sent for the task: they come on another way, and may come later. */
  readonly eventCount: number
}

/** Sent to the main thread while a task runs. */
export type ThreadEvent =
  | { readonly kind: 'ready' }
  | { readonly kind: 'lines'; readonly number: number; readonly text: string }
  | { readonly kind: 'progress'; readonly number: number; readonly value: Uint8Array }

/** Broadcast to a thread: the task's signal is aborted. */
export type ThreadCancel = { readonly number: number; readonly code: 'aborted' | 'task-timeout' }
