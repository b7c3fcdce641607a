// atoll lock with real commands, over the real local API.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../../src/api/remote/connect.ts'
import type { RemoteNode } from '../../../src/api/remote/connect.ts'
import { MeshError } from '../../../src/base/errors.ts'
import { LocalApi } from '../local-api.ts'
import { run } from './command-line.ts'
import type { Printed } from './command-line.ts'

let api: LocalApi
let mesh: RemoteNode

beforeEach(async () => {
  api = await LocalApi.start()
  mesh = await connect(api.address)
})

afterEach(async () => {
  await mesh.close()
  await api[Symbol.asyncDispose]()
})

async function atoll(words: string[], signal?: AbortSignal): Promise<Printed> {
  return await run(words, { dataDir: api.dataDir, ...(signal === undefined ? {} : { signal }) })
}

/** Waits until the lock is held. */
async function held(name: string): Promise<number> {
  for (;;) {
    const holder = await mesh.locks.holder(name)
    if (holder !== undefined) return holder.token
  }
}

const node = (program: string): string[] => ['--', process.execPath, '-e', program]

describe('atoll lock', () => {
  it('runs a command with the name and token, and gives its exit code', async () => {
    const path = join(api.dataDir, 'env')
    const program = `
      const { ATOLL_LOCK_NAME, ATOLL_LOCK_TOKEN } = process.env
      require('node:fs').writeFileSync(${JSON.stringify(path)}, ATOLL_LOCK_NAME + ' ' + ATOLL_LOCK_TOKEN)
      process.exit(7)`
    const done = await atoll(['lock', 'jobs/a', '--json', ...node(program)])

    const [name, token] = (await readFile(path, 'utf8')).split(' ')
    expect(name).toBe('jobs/a')
    expect(done.code).toBe(7)
    expect(JSON.parse(done.out[0] ?? '')).toEqual({ name, token: Number(token), code: 7 })
    expect(await mesh.locks.holder('jobs/a')).toBeUndefined()
  })

  it('a command that a signal ended, or that is not there', async () => {
    const killed = await atoll(['lock', 'a', ...node("process.kill(process.pid, 'SIGKILL')")])
    expect(killed.code).toBe(137)
    await expect(atoll(['lock', 'a', '--', '/no/such/program'])).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('Cannot run /no/such/program')
    })
    expect(await mesh.locks.holder('a')).toBeUndefined()
  })

  it('waits for its turn, says for whom, and gives up when it is told', async () => {
    const lock = await mesh.locks.acquire('jobs/a', { owner: 'somebody' })
    await expect(atoll(['lock', 'jobs/a', '--try', ...node('')])).rejects.toMatchObject({
      code: 'timeout',
      message: 'Cannot take lock "jobs/a": it is held by somebody'
    })
    await expect(atoll(['lock', 'jobs/a', '--wait', '50ms', ...node('')])).rejects.toMatchObject({
      code: 'timeout'
    })
    const waited = Promise.withResolvers<void>()
    const waiting = run(['lock', 'jobs/a', ...node('process.exit(3)')], {
      dataDir: api.dataDir,
      onLine: () => waited.resolve()
    })
    await waited.promise
    await lock.release()
    const { code, err } = await waiting
    expect([code, err]).toEqual([3, ['Waiting for lock "jobs/a", held by somebody …']])
  })

  it('ends the command when the lock is lost, and says so', async () => {
    const running = atoll(['lock', 'jobs/a', '--ttl', '1s', ...node('setTimeout(() => {}, 30000)')])
    const failed = expect(running).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringContaining('Lost lock "jobs/a" while the command ran')
    })
    await held('jobs/a')
    api.shards.faults = (name) =>
      name === 'lease.keepAlive' ? new MeshError('no-quorum', 'nobody is there') : undefined
    await failed
  })

  it('Ctrl-C ends the command and gives the lock back', async () => {
    const interrupted = new AbortController()
    const words = ['lock', 'jobs/a', '--ttl', '60s', ...node('setTimeout(() => {}, 30000)')]
    const running = atoll(words, interrupted.signal)
    const failed = expect(running).rejects.toThrow('Interrupted')
    await held('jobs/a')
    interrupted.abort(new MeshError('aborted', 'Interrupted'))
    await failed
    expect(await mesh.locks.holder('jobs/a')).toBeUndefined()
  })
})
