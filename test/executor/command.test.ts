import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MIB } from '../../src/base/units.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { WORK_BYTES_MAX, type Work, type WorkResult } from '../../src/executor/executor.ts'
import { expectFailed } from '../conformance/executor.ts'
import { isAlive, untilGone } from './processes.ts'
import { LIMITS, sampleWork } from './sample-work.ts'
import { createExecutor, type TestExecutor } from './samples.ts'

describe('commands as tasks', () => {
  let sample: TestExecutor
  const lines: string[] = []

  beforeAll(async () => {
    sample = await createExecutor({ allowExec: true })
    await sample.executor.start()
  })
  afterAll(async () => {
    await sample[Symbol.asyncDispose]()
  })

  function work(command: string, args: readonly string[], change: Partial<Work> = {}): Work {
    return sampleWork('', null, { code: { kind: 'exec', command, args }, ...change })
  }

  async function run(
    command: string,
    args: readonly string[],
    change: Partial<Work> = {}
  ): Promise<WorkResult> {
    lines.length = 0
    const onLog = (line: string): number => lines.push(line)
    return await sample.executor.run(work(command, args, change), { onLog })
  }

  const shell = async (script: string, change: Partial<Work> = {}): Promise<WorkResult> =>
    await run('sh', ['-c', script], change)

  it('read their input, write their output and log what they say', async () => {
    const script = 'cat; echo one >&2; printf "two\\nthree" >&2; printf "$ATOLL_FENCING_TOKEN"'

    const result = await shell(script, { input: utf8('in'), fencingToken: 7 })

    expect(result.kind === 'done' && Buffer.from(result.output).toString()).toBe('in7')
    expect(lines).toEqual(['one', 'two', 'three'])
  })

  it('get their words as they are, without a shell', async () => {
    const result = await run('printf', ['%s|', '$HOME', '; echo', "a 'b'"])

    expect(result.kind === 'done' && Buffer.from(result.output).toString()).toBe(
      "$HOME|; echo|a 'b'|"
    )
  })

  it('need not read what they are given', async () => {
    const result = await run('true', [], { input: new Uint8Array(4 * MIB) })

    expect(result.kind).toBe('done')
  })

  it('fail by their exit code, a signal, or when they are not there', async () => {
    const result = await shell('echo "what is wrong" >&2; exit 3')
    expectFailed(result, 'task-failed')
    expect(result).toMatchObject({
      error: { message: 'The command ended with exit code 3: what is wrong' },
      isRetryable: true
    })
    expect(await shell('kill -SEGV $$')).toMatchObject({
      error: { message: 'The command ended with SIGSEGV' }
    })
    expectFailed(await run('no-such-command', []), 'not-found')
  })

  it('write so much and no more', async () => {
    const enough = await shell(`head -c ${WORK_BYTES_MAX} /dev/zero`)
    expect(enough.kind === 'done' && enough.output.length).toBe(WORK_BYTES_MAX)
    expectFailed(await shell('cat /dev/zero'), 'too-large')
  })

  it.each([
    ['their time is over', 'task-timeout', false],
    ['they are cancelled', 'aborted', true]
  ] as const)('end with all that they started when %s', async (_, code, isCancelled) => {
    const cancel = new AbortController()
    const script =
      'trap "" TERM; sh -c "trap \\"\\" TERM; sleep 600" & echo $$ $! >&2; wait; sleep 600'
    const { promise: said, resolve: onLog } = Promise.withResolvers<string>()
    const limits = { ...LIMITS, timeoutMs: isCancelled ? 20_000 : 500 }
    const ended = sample.executor
      .run(work('sh', ['-c', script], { limits }), { onLog, signal: cancel.signal })
      .catch((error: unknown) => error as Error)
    const pids = (await said).split(' ').map(Number)
    expect(pids.every(isAlive)).toBe(true)

    if (isCancelled) cancel.abort(new Error('enough'))

    const result = await ended
    if (result instanceof Error) expect(result.message).toBe('enough')
    else expectFailed(result, code)
    expect(result instanceof Error).toBe(isCancelled)
    await untilGone(pids)
    expect(sample.executor.freeSlots()).toBe(2)
  })

  it('leave nothing behind when they end by themselves', async () => {
    const result = await shell('sleep 600 & echo $!')

    expect(result.kind).toBe('done')
    if (result.kind === 'done') await untilGone([Number(Buffer.from(result.output).toString())])
  })

  it('end when they and what they started hold too much', async () => {
    if (process.platform !== 'linux') return
    const grow = 'const a = []; setInterval(() => a.push(Buffer.alloc(8 << 20, 1)), 5)'
    const limits = { ...LIMITS, memoryBytes: 200 * MIB }

    const result = await run(process.execPath, ['-e', grow], { limits })

    expectFailed(result, 'task-memory')
  })

  it('share the slots with other tasks, and are not overtaken by them', async () => {
    const { executor } = sample
    const order: string[] = []
    const one = async (name: string, task: Work): Promise<void> => {
      await executor.run(task, { onStart: () => order.push(`${name} begins`) })
      order.push(`${name} ends`)
    }
    await executor.run(sampleWork('echo'))

    await Promise.all([
      one('long', sampleWork('wait', 1_000)),
      one('short', sampleWork('wait', 200)),
      one('command', work('sleep', ['0.1'])),
      one('last', sampleWork('echo'))
    ])

    const at = (what: string): number => order.indexOf(what)
    // Whichever it was: threads take their time to start.
    expect(Math.min(at('short ends'), at('long ends'))).toBeLessThan(at('command begins'))
    expect(at('command begins')).toBeLessThan(at('last begins'))
  })
})
