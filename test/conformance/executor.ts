// What every Executor promises, whether its tasks are real ones or functions of a simulation.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import type { ErrorCode } from '../../src/base/errors.ts'
import {
  WAITING_COUNT_MAX,
  WORK_BYTES_MAX,
  type Executor,
  type Work,
  type WorkResult
} from '../../src/executor/executor.ts'
import { decodeValue } from '../../src/executor/values.ts'
import { LIMITS, sampleWork } from '../executor/sample-work.ts'
import { expectCode } from './block-store.ts'

/**
 * The harness knows these tasks by name. `echo` returns its input, logs `begin` and tells its input as
 * progress; `fail` throws `TypeError: no good`; `wait` returns `waited` after as many milliseconds as
 * its input says, or ends when it is aborted; `loop` never ends, and doesn't look at its signal.
 */
export type ExecutorHarness = {
  /** Not started, with two slots. */
  executor: Executor
  /** Waits for something that takes time. */
  settle<T>(work: Promise<T>): Promise<T>
  /** Lets so much time pass. */
  pass(durationMs: number): Promise<void>
  /** What runs the tasks ends, and it is no task's doing. */
  crash(): void
  dispose(): Promise<void>
}

/** Of tasks that wait for longer than that. */
const patient = { limits: { ...LIMITS, timeoutMs: 120_000 } }

export function outputOf(result: WorkResult): unknown {
  return result.kind === 'done' ? decodeValue(result.output) : result
}

export function expectFailed(result: WorkResult, code: ErrorCode): void {
  expect(result.kind === 'failed' ? result.error.code : result).toBe(code)
}

type Begun = { readonly begun: Promise<void>; readonly ended: Promise<WorkResult> }

export function describeExecutor(name: string, make: () => Promise<ExecutorHarness>): void {
  describe(name, () => {
    let harness: ExecutorHarness
    let executor: Executor

    beforeEach(async () => {
      harness = await make()
      executor = harness.executor
      await executor.start()
    })
    afterEach(async () => {
      await harness.dispose()
    })

    /** @returns when the task has begun, and how it ends */
    const begin = (work: Work, signal?: AbortSignal): Begun => {
      const { promise: begun, resolve } = Promise.withResolvers<void>()
      return { begun, ended: executor.run(work, { signal, onStart: resolve }) }
    }

    const allBegun = async (runs: readonly Begun[]): Promise<void> => {
      await harness.settle(Promise.all(runs.map(({ begun }) => begun)))
    }

    const run = async (...args: Parameters<Executor['run']>): Promise<WorkResult> =>
      await harness.settle(executor.run(...args))

    it('run() gives what the task returned, and told before', async () => {
      const told: unknown[] = []

      const result = await run(sampleWork('echo', { a: [1n, new Date(7)] }), {
        onStart: () => told.push('start'),
        onLog: (line) => told.push(line),
        onProgress: (value) => told.push(decodeValue(value))
      })

      expect(outputOf(result)).toEqual({ a: [1n, new Date(7)] })
      expect(result.kind === 'done' && result.durationMs >= 0).toBe(true)
      expect(told[0]).toBe('start')
      expect(told).toContain('begin')
      expect(told).toContainEqual({ a: [1n, new Date(7)] })
      expect(executor.freeSlots()).toBe(2)
    })

    it('run() tells how the task failed', async () => {
      const result = await run(sampleWork('fail'))

      expectFailed(result, 'task-failed')
      expect(result).toMatchObject({ error: { message: 'TypeError: no good' }, isRetryable: true })
    })

    it('run() runs as many tasks as there are slots, the others in order', async () => {
      // Threads that aren't there yet take their time to start.
      await harness.settle(Promise.all([1, 2].map(() => executor.run(sampleWork('wait', 10)))))
      const started: number[] = []
      const runs = [0, 1, 2, 3].map((number) =>
        executor.run(sampleWork('wait', 50), { onStart: () => started.push(number) })
      )

      expect(executor.freeSlots()).toBe(0)
      await harness.settle(Promise.all(runs.slice(0, 1)))
      expect(started.slice(0, 2)).toEqual([0, 1])
      await harness.settle(Promise.all(runs))

      expect(started).toEqual([0, 1, 2, 3])
      expect(executor.freeSlots()).toBe(2)
    })

    it('onFree() tells when work has ended and a slot is free', async () => {
      const free: number[] = []
      const unsubscribe = executor.onFree(() => free.push(executor.freeSlots()))

      await run(sampleWork('wait', 1))
      await harness.pass(1)
      unsubscribe()
      await run(sampleWork('wait', 1))

      expect(free).toEqual([2])
    })

    it('run() ends a task that takes too long, and its slot is free', async () => {
      const limits = { ...LIMITS, timeoutMs: 100 }

      const results = await harness.settle(
        Promise.all([
          executor.run(sampleWork('loop', null, { limits })),
          executor.run(sampleWork('wait', 60_000, { limits }))
        ])
      )

      for (const result of results) expectFailed(result, 'task-timeout')
      expect(executor.freeSlots()).toBe(2)
      expect(outputOf(await run(sampleWork('echo', 1)))).toBe(1)
    })

    it('run() rejects with the reason of the signal, after the task has ended', async () => {
      const [looping, waiting] = [new AbortController(), new AbortController()]
      const runs = [
        begin(sampleWork('loop', null, patient), looping.signal),
        begin(sampleWork('wait', 60_000, patient), waiting.signal)
      ]
      const settled = Promise.allSettled(runs.map(({ ended }) => ended))
      await allBegun(runs)

      looping.abort(new Error('enough'))
      waiting.abort(new Error('enough'))

      for (const result of await harness.settle(settled)) {
        expect(result).toMatchObject({ status: 'rejected', reason: { message: 'enough' } })
      }
      expect(executor.freeSlots()).toBe(2)
      expect(outputOf(await run(sampleWork('echo', 1)))).toBe(1)
    })

    it('run() never starts what is cancelled while it waits', async () => {
      const cancel = new AbortController()
      let isStarted = false
      const busy = [1, 2].map(() => executor.run(sampleWork('wait', 100)))
      const waiting = executor.run(sampleWork('echo', 1), {
        signal: cancel.signal,
        onStart: () => (isStarted = true)
      })

      cancel.abort(new Error('no more'))

      await expect(harness.settle(waiting)).rejects.toThrow('no more')
      await expect(run(sampleWork('echo'), { signal: cancel.signal })).rejects.toThrow('no more')
      await harness.settle(Promise.all(busy))
      await harness.pass(50)
      expect(isStarted).toBe(false)
    })

    it('run() tells that work was lost in a crash, and runs what has waited', async () => {
      const lost = [1, 2].map(() => begin(sampleWork('wait', 60_000, patient)))
      const waiting = executor.run(sampleWork('echo', 'later'))
      await allBegun(lost)

      harness.crash()

      for (const result of await harness.settle(Promise.all(lost.map(({ ended }) => ended)))) {
        expect(result).toMatchObject({ kind: 'lost', reason: expect.any(String) })
      }
      expect(outputOf(await harness.settle(waiting))).toBe('later')
      expect(executor.freeSlots()).toBe(2)
    })

    it('stop() loses what runs and what waits, and refuses what comes', async () => {
      const runs = [1, 2, 3].map(() => begin(sampleWork('wait', 60_000, patient)))
      await allBegun(runs.slice(0, 2))

      await harness.settle(executor.stop())
      await harness.settle(executor.stop())

      for (const { ended } of runs) expect((await ended).kind).toBe('lost')
      await expectCode(executor.run(sampleWork('echo')), 'stopped')
      expect(executor.freeSlots()).toBe(0)
    })

    it('run() refuses what is malformed or too large', async () => {
      const refused: readonly (readonly [Partial<Work>, ErrorCode])[] = [
        [{ input: new Uint8Array(WORK_BYTES_MAX + 1) }, 'too-large'],
        [{ limits: { ...LIMITS, timeoutMs: 0 } }, 'invalid-argument'],
        [{ limits: { ...LIMITS, timeoutMs: Number.NaN } }, 'invalid-argument'],
        [{ limits: { ...LIMITS, memoryBytes: 1_000 } }, 'invalid-argument'],
        [{ fencingToken: 0.5 }, 'invalid-argument'],
        [{ code: { kind: 'bundle', cid: '../secret' } }, 'invalid-argument'],
        [{ code: { kind: 'exec', command: 'echo', args: [] } }, 'invalid-argument']
      ]
      for (const [change, code] of refused) {
        await expectCode(executor.run(sampleWork('echo', null, change)), code)
      }
      expect(executor.freeSlots()).toBe(2)
    })

    it('run() refuses what is too much', async () => {
      const cancel = new AbortController()
      const options = { signal: cancel.signal }
      await run(sampleWork('echo'))
      const runs = Array.from({ length: WAITING_COUNT_MAX + 100 }, () =>
        executor.run(sampleWork('wait', 60_000, patient), options)
      )

      const settled = Promise.allSettled(runs)
      await expectCode(executor.run(sampleWork('echo')), 'overloaded')
      cancel.abort(new Error('enough'))

      await harness.settle(settled)
      expect(outputOf(await run(sampleWork('echo', 1)))).toBe(1)
    })
  })
}
