// Tasks that misbehave: each ends by itself, and the peer doesn't notice but for the result.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import type { Logger } from '../../src/base/log.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { WorkResult } from '../../src/executor/executor.ts'
import type { ProcessExecutor } from '../../src/executor/process/process-executor.ts'
import { expectCode } from '../conformance/block-store.ts'
import { expectFailed, outputOf } from '../conformance/executor.ts'
import { isAlive, until, untilGone } from './processes.ts'
import { LIMITS, sampleWork } from './sample-work.ts'
import { createExecutor } from './samples.ts'

/** Runs a task and tells when it has begun. */
function begin(
  executor: ProcessExecutor,
  ...args: Parameters<typeof sampleWork>
): { begun: Promise<void>; ended: Promise<WorkResult> } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { begun: promise, ended: executor.run(sampleWork(...args), { onStart: resolve }) }
}

async function started(): Promise<Awaited<ReturnType<typeof createExecutor>>> {
  const sample = await createExecutor()
  await sample.executor.start()
  return sample
}

describe('a task that misbehaves', () => {
  it('fails alone, while another one runs on, the peer answers, and the pool is whole', async () => {
    await using sample = await started()
    const { executor } = sample
    const delay = monitorEventLoopDelay({ resolution: 10 })
    const other = begin(executor, 'wait', 4_000)
    await other.begun
    const [pid] = executor.pids()
    delay.enable()
    const limits = { ...LIMITS, timeoutMs: 300 }

    const results = []
    results.push(await executor.run(sampleWork('loop', null, { limits })))
    results.push(await executor.run(sampleWork('swallow', null, { limits })))
    for (const task of ['growBuffers', 'growBuffersBusily', 'exit', 'fail', 'stray']) {
      results.push(await executor.run(sampleWork(task)))
    }

    const codes = results.map((result) => result.kind === 'failed' && result.error.code)
    const ended = ['task-exited', 'task-failed', 'task-failed']
    expect(codes).toEqual(['task-timeout', 'task-timeout', 'task-memory', 'task-memory', ...ended])
    expect(outputOf(await other.ended)).toBe('waited')
    expect(executor.pids()).toEqual([pid])
    expect(delay.percentile(99) / 1e6).toBeLessThan(1_000)
    const all = await Promise.all([1, 2, 3, 4].map((n) => executor.run(sampleWork('echo', n))))
    expect(all.map(outputOf)).toEqual([1, 2, 3, 4])
  })

  it.each(['growHeap', 'growArray'])(
    'that fills the heap (%s) is the one that failed, even if it ends the process',
    async (task) => {
      await using sample = await started()
      const { executor } = sample

      const result = await executor.run(sampleWork(task))

      expectFailed(result, 'task-memory')
      expect(outputOf(await executor.run(sampleWork('echo', 1)))).toBe(1)
    }
  )

  it('holds what its own limits say, however much others may', async () => {
    await using sample = await started()
    const { executor } = sample
    const limits = (mib: number): object => ({ limits: { ...LIMITS, memoryBytes: mib * 2 ** 20 } })

    expectFailed(await executor.run(sampleWork('growHeap', null, limits(16))), 'task-memory')
    expect(outputOf(await executor.run(sampleWork('echo', 1, limits(200))))).toBe(1)
    expectFailed(await executor.run(sampleWork('growBuffers', null, limits(1))), 'task-memory')
    await expectCode(executor.run(sampleWork('echo', 1, limits(1_000))), 'invalid-argument')
  })

  it('and ends the process has failed when it was alone in it', async () => {
    await using sample = await started()
    const { executor } = sample

    const result = await executor.run(sampleWork('die'))

    expectFailed(result, 'task-exited')
    expect(result).toMatchObject({ error: { message: expect.stringContaining('SIGSEGV') } })
    expect(outputOf(await executor.run(sampleWork('echo', 1)))).toBe(1)
  })

  it('and ends the process takes others with it, which are lost', async () => {
    await using sample = await started()
    const { executor } = sample
    const other = begin(executor, 'wait', 60_000)
    await other.begun
    const [pid] = executor.pids()

    const result = await executor.run(sampleWork('die'))

    expect((await other.ended).kind).toBe('lost')
    expect(result.kind).toBe('lost')
    expect(outputOf(await executor.run(sampleWork('echo', 1)))).toBe(1)
    expect(executor.pids()).not.toEqual([pid])
  })

  it('is not blamed for a process that somebody killed', async () => {
    await using sample = await started()
    const { executor } = sample

    expect((await executor.run(sampleWork('die', 'SIGKILL'))).kind).toBe('lost')
  })

  it.each([
    ['giveFunction', 'invalid-result'],
    ['giveMuch', 'too-large'],
    ['hopeless', 'task-failed'],
    ['missing', 'invalid-code']
  ] as const)('%s fails with %s, and is not tried again', async (task, code) => {
    await using sample = await started()
    const result = await sample.executor.run(sampleWork(task))

    expectFailed(result, code)
    expect(result).toMatchObject({ isRetryable: false })
  })
})

describe('processes for tasks', () => {
  it('are replaced at once, and work that had not begun is done by the next', async () => {
    await using sample = await started()
    const { executor } = sample
    const busy = [begin(executor, 'wait', 60_000), begin(executor, 'wait', 60_000)]
    await Promise.all(busy.map(({ begun }) => begun))
    const waiting = Array.from({ length: 50 }, (_, n) => executor.run(sampleWork('echo', n)))
    await sleep(50)

    for (const pid of executor.pids()) process.kill(pid, 'SIGKILL')

    for (const { ended } of busy) expect((await ended).kind).toBe('lost')
    expect((await Promise.all(waiting)).map(outputOf)).toEqual(waiting.map((_, n) => n))
  })

  it('are not started again and again when they keep ending', async () => {
    const events: string[] = []
    const logger: Logger = { ...silentLogger, error: (event) => events.push(event) }
    await using sample = await createExecutor({}, logger)
    const { executor } = sample
    await executor.start()
    const results = []
    for (let round = 0; round < 4; round++) results.push(await executor.run(sampleWork('die')))
    const last = executor.run(sampleWork('die'))
    expect((await last).kind).toBe('failed')

    expect(results.map(({ kind }) => kind)).toEqual(['failed', 'failed', 'failed', 'failed'])
    await until('the executor backs off', () => executor.freeSlots() === 0)
    expect(executor.pids()).toEqual([])
    await expectCode(executor.run(sampleWork('echo')), 'executor-failed')
    expect(events).toContain('executor.back_off')
    await until('it tries again', () => executor.freeSlots() === 2)
    expect(outputOf(await executor.run(sampleWork('echo', 1)))).toBe(1)
  })

  it('are not there before the first task, nor long after the last', async () => {
    await using sample = await createExecutor({ idleMs: 200 })
    const { executor } = sample
    await executor.start()
    expect(executor.pids()).toEqual([])

    await executor.run(sampleWork('echo'))
    const pids = executor.pids()
    expect(pids).toHaveLength(1)
    await untilGone(pids)

    expect(executor.pids()).toEqual([])
    expect(outputOf(await executor.run(sampleWork('echo', 1)))).toBe(1)
  })

  it('leave nothing behind when they are stopped', async () => {
    const sample = await createExecutor({ allowExec: true })
    const { executor } = sample
    await executor.start()
    const loop = begin(executor, 'loop')
    const args = ['-c', 'sleep 600 & echo $$ $! >&2; wait']
    const code = { kind: 'exec', command: 'sh', args } as const
    const { promise: said, resolve: onLog } = Promise.withResolvers<string>()
    const ended = executor.run(sampleWork('', null, { code }), { onLog })
    await loop.begun
    const pids = [...executor.pids(), ...(await said).split(' ').map(Number)]
    expect(pids).toHaveLength(4)
    expect(pids.every(isAlive)).toBe(true)

    await sample[Symbol.asyncDispose]()

    await untilGone(pids)
    expect((await loop.ended).kind).toBe('lost')
    expect((await ended).kind).toBe('lost')
  })

  it('leave no command behind when they are killed', async () => {
    await using sample = await createExecutor({ allowExec: true })
    const { executor } = sample
    await executor.start()
    const args = ['-c', 'sleep 600 & echo $$ $! >&2; wait']
    const code = { kind: 'exec', command: 'sh', args } as const
    const { promise: said, resolve: onLog } = Promise.withResolvers<string>()
    const ended = executor.run(sampleWork('', null, { code }), { onLog })
    const pids = (await said).split(' ').map(Number)

    for (const pid of executor.pids()) process.kill(pid, 'SIGKILL')

    await untilGone(pids)
    expect((await ended).kind).toBe('lost')
  })

  it('end when the peer is killed, with all that they started', async () => {
    const script = fileURLToPath(new URL('orphan-parent.ts', import.meta.url))
    const parent = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string]
    const pids = JSON.parse(line) as number[]
    expect(pids).toHaveLength(4)
    expect(pids.every(isAlive)).toBe(true)

    parent.kill('SIGKILL')

    await untilGone(pids)
  })
})
