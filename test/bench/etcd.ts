// Three members of etcd on this machine, as they come: durable, with its default timeouts.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { EtcdClient } from './etcd-client.ts'

const MEMBERS = 3
const START_MS = 20_000
const POLL_MS = 100

export type EtcdMember = {
  readonly url: string
  readonly pid: number
  leads(): Promise<boolean>
  kill(): Promise<void>
}

/** @returns what it says its version is, or undefined when it isn't installed */
export function etcdVersion(): string | undefined {
  try {
    const text = execFileSync('etcd', ['--version'], { encoding: 'utf8' })
    return /etcd Version: (\S+)/.exec(text)?.[1]
  } catch {
    return undefined
  }
}

/** Starts them in a folder, and waits until they have elected. They end with {@link EtcdMember.kill}. */
export async function startEtcd(
  root: string,
  add: (member: { end(): Promise<void> }) => unknown
): Promise<EtcdMember[]> {
  const ports = await freePorts(2 * MEMBERS)
  const urlOf = (place: number): string => `http://127.0.0.1:${ports[place]}`
  const places = Array.from({ length: MEMBERS }, (_, index) => index)
  const cluster = places.map((index) => `m${index}=${urlOf(index + MEMBERS)}`).join(',')
  const members = places.map((index) => {
    const words = {
      name: `m${index}`,
      'data-dir': join(root, `etcd-${index}`),
      'listen-client-urls': urlOf(index),
      'advertise-client-urls': urlOf(index),
      'listen-peer-urls': urlOf(index + MEMBERS),
      'initial-advertise-peer-urls': urlOf(index + MEMBERS),
      'initial-cluster': cluster,
      'initial-cluster-state': 'new',
      'log-level': 'error'
    }
    const child = spawn(
      'etcd',
      Object.entries(words).map(([word, value]) => `--${word}=${value}`),
      {
        stdio: 'ignore'
      }
    )
    const member = memberOf(child, urlOf(index))
    add({ end: () => member.kill() })
    return member
  })
  await elected(members)
  return members
}

function memberOf(child: ChildProcess, url: string): EtcdMember {
  return {
    url,
    pid: child.pid ?? 0,
    async leads() {
      const client = await EtcdClient.connect(url)
      try {
        return await client.leads()
      } finally {
        client.close()
      }
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
  }
}

async function elected(members: readonly EtcdMember[]): Promise<void> {
  const endMs = performance.now() + START_MS
  for (;;) {
    const leads = await Promise.all(members.map((member) => member.leads().catch(() => undefined)))
    if (leads.includes(true) && !leads.includes(undefined)) return
    if (performance.now() > endMs) throw new Error(`etcd has no leader after ${START_MS} ms`)
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS)
    })
  }
}

/** @returns ports that nobody listens on now */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(
    servers.map(async (server) => {
      server.close()
      await once(server, 'close')
    })
  )
  return ports
}
