import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { MeshError } from '../../src/base/errors.ts'
import { lockFolder } from '../../src/storage/file/folder-lock.ts'
import { expectCode } from '../conformance/block-store.ts'
import { makeTestFolder } from './block-store-harness.ts'

const HOLDER = fileURLToPath(new URL('hold-folder-lock.ts', import.meta.url))

type Holder = { child: ChildProcess; said: string; pid: number }

/** Starts a process that tries to take the lock; resolves with what it said. */
async function startHolder(folder: string): Promise<Holder> {
  const child = spawn(process.execPath, [HOLDER, folder], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [data] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, said: data.toString().trim(), pid: child.pid as number }
}

async function kill(holder: Holder): Promise<void> {
  const { child } = holder
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

describe('lockFolder', () => {
  let folder: string
  const holders: Holder[] = []

  beforeEach(async () => {
    folder = await makeTestFolder()
  })
  afterEach(async () => {
    for (const holder of holders.splice(0)) await kill(holder)
    await rm(folder, { recursive: true })
  })

  async function hold(): Promise<Holder> {
    const holder = await startHolder(folder)
    holders.push(holder)
    return holder
  }

  it('refuses a second lock in the same process until the first is released', async () => {
    const lock = await lockFolder(folder)

    await expectCode(lockFolder(folder), 'folder-locked')

    await lock.release()
    await lock.release()
    const next = await lockFolder(folder)
    await next.release()
    expect(await readdir(join(folder, 'lock'))).toEqual([])
  })

  it('names the process that holds the lock', async () => {
    const holder = await hold()

    const error = await lockFolder(folder).catch((reason: unknown) => reason)

    expect(holder.said).toBe('held')
    expect(error).toBeInstanceOf(MeshError)
    expect((error as MeshError).code).toBe('folder-locked')
    expect((error as MeshError).message).toContain(`process ${holder.pid}`)
    expect((error as MeshError).details).toEqual({ pid: holder.pid })
  })

  it('takes over the lock of a process that was killed', async () => {
    const holder = await hold()
    await kill(holder)

    const lock = await lockFolder(folder)

    expect(await readdir(join(folder, 'lock'))).toHaveLength(2)
    await lock.release()
  })

  it('goes to exactly one of many that race to take over a stale lock', async () => {
    await kill(await hold())

    const results = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder)))

    const locks = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(locks).toHaveLength(1)
    for (const lock of locks) await lock.release()
  })

  it('goes to exactly one of several processes that start together', async () => {
    await kill(await hold())

    const started = await Promise.all([hold(), hold(), hold()])

    expect(started.map((holder) => holder.said).toSorted()).toEqual(['held', 'locked', 'locked'])
  })

  it('works in a folder whose path is too long for a socket', async () => {
    const deep = join(folder, 'long-name-'.repeat(12))
    await mkdir(deep)

    const lock = await lockFolder(deep)

    await expectCode(lockFolder(deep), 'folder-locked')
    await lock.release()
  })

  it('rejects when the folder is not there', async () => {
    await expectCode(lockFolder(join(folder, 'none')), 'storage-failed')
  })
})
