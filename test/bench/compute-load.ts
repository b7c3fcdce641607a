// What the bench of work asks for, of whoever does it: as many small tasks as there can be, and one
// while nothing else goes on.

import { task, type TaskDefinition } from '../../src/index.ts'
import { pause } from './usage.ts'

/** When a task ran, and how fast its node is. */
export type Span = { beganMs: number; endedMs: number; speed: number }

/** Somebody who runs tasks that do nothing. */
export type WorkTarget = {
  /** So many, as fast as it can; resolves when all are done. */
  many(count: number): Promise<void>
  /** One, from asking for it to having what it returned. */
  one(): Promise<unknown>
  /** Forgets what was done; not measured. */
  clean?(): Promise<void>
}

/** Does nothing. */
export const noop: TaskDefinition<number, number> = task('noop', (_, number: number) => number, {
  pure: true
})

/**
 * Sleeps as long as a node of speed 1 would work; a faster one is done sooner. A task knows no node,
 * but it sees the home folder of the one that runs it, and that is called after the speed.
 *
 * @returns when it began and ended
 */
export const nap: TaskDefinition<number, Span> = task(
  'nap',
  (_, workMs: number) => {
    const beganMs = Date.now()
    const speed = Number(/speed-([0-9.]+)$/.exec(process.env['HOME'] ?? '')?.[1] ?? 1)
    // Exact, which a timer isn't: it is a millisecond late or more.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, workMs / speed)
    return { beganMs, endedMs: Date.now(), speed }
  },
  { pure: true }
)

/** Tells under a key where it runs, and goes on for a while. */
export const telling: TaskDefinition<{ key: string; workMs: number }, Promise<object>> = task(
  'telling',
  async (ctx, { key, workMs }: { key: string; workMs: number }) => {
    const began = { beganMs: Date.now(), pid: process.pid, token: ctx.fencingToken }
    await ctx.kv.put(key, JSON.stringify(began))
    await new Promise((resolve) => {
      setTimeout(resolve, workMs)
    })
    return began
  }
)

/** @returns tasks in a second */
export async function rateOf(target: WorkTarget, count: number): Promise<number> {
  const startMs = performance.now()
  await target.many(count)
  return (count * 1_000) / (performance.now() - startMs)
}

/** @returns milliseconds of each */
export async function latenciesOf(
  target: WorkTarget,
  { times, pauseMs }: { times: number; pauseMs: number }
): Promise<number[]> {
  const tookMs: number[] = []
  for (let time = 0; time < times; time++) {
    await pause(pauseMs)
    const startMs = performance.now()
    await target.one()
    tookMs.push(performance.now() - startMs)
  }
  return tookMs
}
