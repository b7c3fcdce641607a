// Tasks for real executors, as the bundles that they are.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger, type Logger } from '../../src/base/log.ts'
import { MIB } from '../../src/base/units.ts'
import {
  ProcessExecutor,
  type ProcessExecutorOptions
} from '../../src/executor/process/process-executor.ts'
import { MeshError } from '../../src/base/errors.ts'
import { systemClock } from '../../src/node/system-clock.ts'

const SAMPLES = `
  import { setTimeout as sleep } from 'node:timers/promises'
  const hold = []
  export const echo = (ctx, input) => { ctx.log('begin'); ctx.progress(input); return input }
  export const fail = () => { throw new TypeError('no good') }
  export const wait = async ({ signal }, ms) => {
    await sleep(ms, null, { signal })
    return 'waited'
  }
  export const loop = () => { for (;;); }
  export const growHeap = () => { for (;;) hold.push({ at: [hold.length] }) }
  export const growArray = () => { for (;;) hold.push(hold.length) }
  export const growBuffers = async () => {
    for (;;) { hold.push(Buffer.alloc(1 << 20, 1)); await sleep(1) }
  }
  export const growBuffersBusily = () => {
    for (let end = performance.now(); ; end += 2) {
      hold.push(Buffer.alloc(1 << 20, 1))
      while (performance.now() < end);
    }
  }
  export const exit = () => process.exit(3)
  export const die = (_, signal) => process.kill(process.pid, signal ?? 'SIGSEGV')
  export const giveFunction = () => () => 1
  export const giveMuch = () => new Uint8Array((64 << 20) + 1)
  export const stray = async () => {
    setTimeout(() => { throw new Error('stray') }, 1)
    await sleep(60_000)
  }
  export const hopeless = () => { throw Object.assign(new Error('never'), { isRetryable: false }) }
  export const context = (ctx, input) => {
    const { fencingToken, after } = ctx
    return { fencingToken, after, input: ctx.input, isAborted: ctx.signal.aborted }
  }
  export const environment = () => ({ env: Object.keys(process.env), cwd: process.cwd() })
  export const readFile = async (_, path) => (await import('node:fs')).readFileSync(path, 'utf8')
  export const spawn = async () => (await import('node:child_process')).spawn('true')
  export const thread = async () => {
    new (await import('node:worker_threads')).Worker('', { eval: true, execArgv: [] })
  }
  export const say = async (ctx, { count, length }) => {
    for (let n = 0; n < count; n++) ctx.log(String(n).padEnd(length, '.'))
    console.log('to the console:', { a: 1 })
  }
  export const steps = async (ctx, count) => {
    for (let n = 1; n <= count; n++) { ctx.progress(n); await sleep(20) }
  }
  export const keyOf = async (ctx, key) => {
    await ctx.kv.put(key, 'from a task')
    const keys = []
    for await (const entry of ctx.kv.list('tasks/')) keys.push(entry.key)
    return keys
  }
  export const count = () => { globalThis.counted = (globalThis.counted ?? 0) + 1; return globalThis.counted }
  export const swallow = async () => { for (;;) { try { await sleep(60_000) } catch {} } }
`

export type TestExecutor = AsyncDisposable & {
  readonly executor: ProcessExecutor
  readonly folder: string
  /** Codes that were asked for. */
  readonly loaded: string[]
  readonly codes: Map<string, string | Uint8Array>
}

export async function createExecutor(
  options: Partial<ProcessExecutorOptions> = {},
  logger: Logger = silentLogger
): Promise<TestExecutor> {
  const folder = await mkdtemp(join(tmpdir(), 'atoll-executor-'))
  const codes = new Map<string, string | Uint8Array>([['samples', SAMPLES]])
  const loaded: string[] = []
  const loadCode = async (cid: string): Promise<Uint8Array> => {
    loaded.push(cid)
    const code = codes.get(cid)
    if (code === undefined) throw new MeshError('unreachable', `Nobody has ${cid}`)
    return await Promise.resolve(Buffer.from(code))
  }
  const executor = new ProcessExecutor(
    { clock: systemClock, logger, loadCode },
    { folder, slots: 2, memoryBytesMax: 256 * MIB, ...options }
  )
  return {
    executor,
    folder,
    loaded,
    codes,
    [Symbol.asyncDispose]: async () => {
      await executor.stop()
      await rm(folder, { recursive: true, force: true })
    }
  }
}
