// A Redis on this machine as users of BullMQ have it: each change in an append-only file.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { freePorts } from './etcd.ts'
import { pause } from './usage.ts'

const START_MS = 20_000
const POLL_MS = 50

/** When what was answered is on the disk: within a second, as is usual, or before the answer. */
export type AppendFsync = 'everysec' | 'always'

export type RedisServer = { readonly port: number; readonly pid: number; end(): Promise<void> }

/** @returns what it says its version is, or undefined when it isn't installed */
export function redisVersion(): string | undefined {
  try {
    const text = execFileSync('redis-server', ['--version'], { encoding: 'utf8' })
    return /v=(\S+)/.exec(text)?.[1]
  } catch {
    return undefined
  }
}

/** Starts one in a folder, and waits until it answers. */
export async function startRedis(root: string, appendfsync: AppendFsync): Promise<RedisServer> {
  const [port = 0] = await freePorts(1)
  const dir = join(root, `redis-${appendfsync}`)
  await mkdir(dir)
  const words = { port, dir, bind: '127.0.0.1', save: '', appendonly: 'yes', appendfsync }
  const child = spawn(
    'redis-server',
    Object.entries(words).flatMap(([word, value]) => [`--${word}`, String(value)]),
    { stdio: 'ignore' }
  )
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  const untilMs = performance.now() + START_MS
  while (!(await answers(port))) {
    if (performance.now() > untilMs) {
      await end()
      throw new Error(`Redis does not answer after ${START_MS} ms`)
    }
    await pause(POLL_MS)
  }
  return { port, pid: child.pid ?? 0, end }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' })
  try {
    await once(socket, 'connect')
    socket.write('PING\r\n')
    const [data] = (await once(socket, 'data')) as [Buffer]
    return data.toString().startsWith('+PONG')
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
