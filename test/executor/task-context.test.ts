// What a task is given, and what it is kept from.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientModule } from '../../src/api/package-folder.ts'
import { LOG_BYTES_MAX, LOG_LINE_BYTES_MAX } from '../../src/executor/executor.ts'
import { decodeValue, encodeValue } from '../../src/executor/values.ts'
import { LocalApi } from '../api/local-api.ts'
import { expectFailed, outputOf } from '../conformance/executor.ts'
import { LIMITS, sampleWork } from './sample-work.ts'
import { createExecutor, type TestExecutor } from './samples.ts'

describe('the context of a task', () => {
  let sample: TestExecutor
  let api: LocalApi

  beforeAll(async () => {
    api = await LocalApi.start()
    const { address } = api
    sample = await createExecutor({ client: () => ({ module: clientModule(), ...address }) })
    await sample.executor.start()
  })
  afterAll(async () => {
    await sample[Symbol.asyncDispose]()
    await api[Symbol.asyncDispose]()
  })

  async function run(
    task: string,
    input?: unknown,
    change: Parameters<typeof sampleWork>[2] = {}
  ): Promise<{ output: unknown; lines: string[]; progress: unknown[] }> {
    const lines: string[] = []
    const progress: unknown[] = []
    const result = await sample.executor.run(sampleWork(task, input, change), {
      onLog: (line) => lines.push(line),
      onProgress: (value) => progress.push(decodeValue(value))
    })
    return { output: outputOf(result), lines, progress }
  }

  it('has the fencing token, the input and what the task builds on', async () => {
    const after = [
      { name: 'parts', isOne: false, outputs: [1, 'two'].map(encodeValue) },
      { name: 'whole', isOne: true, outputs: [encodeValue({ three: 3n })] }
    ]

    const { output } = await run('context', { a: 1 }, { fencingToken: 7, after })

    expect(output).toEqual({
      fencingToken: 7,
      input: { a: 1 },
      after: { parts: [1, 'two'], whole: { three: 3n } },
      isAborted: false
    })
  })

  it('has the services of the mesh', async () => {
    const { output } = await run('keyOf', 'tasks/one')

    expect(output).toEqual(['tasks/one'])
    expect((await run('keyOf', 'tasks/two')).output).toEqual(['tasks/one', 'tasks/two'])
  })

  it('tells lines, the console ones too, all of them while they are few', async () => {
    const { lines } = await run('say', { count: 100, length: 10 })

    expect(lines).toHaveLength(101)
    expect(lines[99]).toBe('99........')
    expect(lines[100]).toBe('to the console: { a: 1 }')
  })

  it('cuts lines that are long, and drops the oldest when there are many', async () => {
    const long = await run('say', { count: 1, length: LOG_LINE_BYTES_MAX + 10 })
    expect(Buffer.byteLength(long.lines[0] ?? '')).toBeLessThanOrEqual(LOG_LINE_BYTES_MAX)
    expect(long.lines[0]?.endsWith('…')).toBe(true)

    const { lines } = await run('say', { count: 100_000, length: 100 })
    expect(lines.join('\n').length).toBeLessThan(4 * LOG_BYTES_MAX)
    expect(lines.some((line) => /^… \d+ lines were dropped$/.test(line))).toBe(true)
    expect(lines.at(-1)).toBe('to the console: { a: 1 }')
    expect(lines.at(-2)).toMatch(/^99999/)
  })

  it('tells the latest progress, some times a second', async () => {
    const { progress } = await run('steps', 20)

    expect(progress[0]).toBe(1)
    expect(progress.at(-1)).toBe(20)
    expect(progress.length).toBeLessThanOrEqual(12)
    expect(progress).toEqual(progress.toSorted((a, b) => Number(a) - Number(b)))
  })

  it('leaves the files of the node, other programs and its environment alone', async () => {
    process.env['ATOLL_SECRET'] = 'secret'
    await writeFile(join(sample.folder, 'key'), 'private')

    const file = await run('readFile', join(sample.folder, 'key'))
    const { env } = (await run('environment')).output as { env: string[] }

    expect(file.output).toMatchObject({ error: { message: expect.stringContaining('restricted') } })
    expect((await run('readFile', '/etc/passwd')).output).toMatchObject({ kind: 'failed' })
    expect((await run('readFile', fileURLToPath(import.meta.url))).output).toMatchObject({
      kind: 'failed'
    })
    expect((await run('spawn')).output).toMatchObject({ kind: 'failed' })
    expect((await run('thread')).output).toMatchObject({ kind: 'failed' })
    expect(env).not.toContain('ATOLL_SECRET')
    expect(env).not.toContain('NODE_OPTIONS')
  })

  it('shows where the task failed, in its own code', async () => {
    const result = await sample.executor.run(sampleWork('fail'))

    expectFailed(result, 'task-failed')
    const { stack = '' } = result.kind === 'failed' ? result.error : {}
    expect(stack).toMatch(/^TypeError: no good\n +at fail \(.*samples\.mjs:\d+:\d+\)/)
    expect(stack).not.toMatch(/executor-thread|piscina/)
  })
})

describe('the code of tasks', () => {
  it('is loaded once, for all tasks that wait for it, and gone with the executor', async () => {
    const sample = await createExecutor()
    const { executor, loaded } = sample
    await executor.start()

    await Promise.all([1, 2, 3, 4].map((n) => executor.run(sampleWork('echo', n))))
    await executor.run(sampleWork('echo'))

    expect(loaded).toEqual(['samples'])
    await sample[Symbol.asyncDispose]()
  })

  it('may be missing, and is asked for again', async () => {
    await using sample = await createExecutor()
    const { executor, loaded, codes } = sample
    await executor.start()
    const code = { kind: 'bundle', cid: 'late' } as const

    const result = await executor.run(sampleWork('late', 1, { code }))
    codes.set('late', 'export const late = () => "now"')

    expectFailed(result, 'unreachable')
    expect(result).toMatchObject({ isRetryable: true })
    expect(outputOf(await executor.run(sampleWork('late', 1, { code })))).toBe('now')
    expect(loaded).toEqual(['late', 'late'])
    expect(executor.freeSlots()).toBe(2)
  })

  it('may be wrong, or register its tasks itself', async () => {
    await using sample = await createExecutor()
    const { executor, codes } = sample
    await executor.start()
    const run = async (cid: string, source: string, name: string): Promise<unknown> => {
      codes.set(cid, source)
      const code = { kind: 'bundle', cid } as const
      return outputOf(await executor.run(sampleWork(name, 1, { code })))
    }

    expect(await run('syntax', 'export const a = (', 'a')).toMatchObject({
      error: { code: 'invalid-code' },
      isRetryable: false
    })
    expect(await run('throws', 'throw new Error("at once")', 'a')).toMatchObject({
      error: { code: 'invalid-code', message: expect.stringContaining('at once') }
    })
    const registering = `globalThis[Symbol.for('atoll.tasks')].set('b', { name: 'b', fn: () => 'b' })`
    expect(await run('registers', registering, 'b')).toBe('b')
    expect(await run('other', 'export const b = 1', 'b')).toMatchObject({
      error: { code: 'invalid-code' }
    })
  })

  it('stays in a thread for a while, and the thread is replaced in time', async () => {
    await using sample = await createExecutor({ slots: 1 })
    const { executor, codes } = sample
    await executor.start()
    const counts: unknown[] = []
    for (let n = 0; n < 40; n++) {
      codes.set(`many${n}`, 'export const a = () => (globalThis.n = (globalThis.n ?? 0) + 1)')
      const code = { kind: 'bundle', cid: `many${n}` } as const
      counts.push(outputOf(await executor.run(sampleWork('a', 1, { code }))))
    }

    expect(counts.slice(0, 32)).toEqual(Array.from({ length: 32 }, (_, n) => n + 1))
    expect(counts.at(-1)).toBeLessThan(10)
  })

  it('is not waited for by work that was cancelled meanwhile', async () => {
    await using sample = await createExecutor()
    const { executor } = sample
    await executor.start()
    const cancel = new AbortController()
    const { signal } = cancel
    const work = sampleWork('echo', 1, { limits: LIMITS })
    const running = executor.run(work, { signal })

    cancel.abort(new Error('enough'))

    await expect(running).rejects.toThrow('enough')
    await sleep(50)
    expect(executor.freeSlots()).toBe(2)
  })
})
