// A local network of its own for a test: network namespaces on a bridge that is in a namespace too.
// Nothing of the machine's own network is touched or reachable, and all of it goes away afterwards.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { UpLine } from '../../src/api/node-process.ts'
import { COMMAND } from './process-mesh.ts'

const execute = promisify(execFile)
const COMMAND_TIMEOUT_MS = 60_000
const UP_TIMEOUT_MS = 60_000
const STDERR_LENGTH_MAX = 4_096
/** A hardware address that no interface has. */
const NOBODY = '02:00:00:00:00:00'

/** @returns why this machine can't have network namespaces of its own, or undefined when it can. */
export async function whyNoNamespaces(): Promise<string | undefined> {
  if (process.platform !== 'linux')
    return `network namespaces need Linux, this is ${process.platform}`
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  try {
    await execute('ip', ['-V'])
  } catch {
    return 'the command "ip" (package iproute2) is missing'
  }
  try {
    const lan = await Lan.create(1)
    await lan[Symbol.asyncDispose]()
  } catch (error) {
    return `this machine refuses network namespaces: ${String(error)}`
  }
  return undefined
}

/** A node in the foreground of one of the namespaces. */
export type LanNode = { up: UpLine; kill(): Promise<void> }

/** Some machines on one switch. */
export class Lan implements AsyncDisposable {
  readonly root: string
  readonly #prefix = `atoll-${process.pid}-${randomBytes(4).toString('hex')}`
  readonly #namespaces: string[] = []
  readonly #running = new Set<ChildProcess>()

  private constructor(root: string) {
    this.root = root
  }

  /** @param count machines, up to 200; number n has the address 10.83.0.(n + 1) */
  static async create(count: number): Promise<Lan> {
    const lan = new Lan(await mkdtemp(join(tmpdir(), 'atoll-lan-')))
    try {
      await lan.#build(count)
      return lan
    } catch (error) {
      await lan[Symbol.asyncDispose]()
      throw error
    }
  }

  addressOf(index: number): string {
    return `10.83.0.${index + 1}`
  }

  dirOf(index: number): string {
    return join(this.root, String(index))
  }

  /** What a command is given to so that it runs on machine `index`; it becomes that command. */
  within(index: number): string[] {
    return ['ip', 'netns', 'exec', this.#nameOf(index)]
  }

  /** From now on nothing that `from` sends gets to `to`, and nobody is told. One way only. */
  async cut(from: number, to: number): Promise<void> {
    const nowhere = ['lladdr', NOBODY, 'nud', 'permanent', 'dev', 'lan']
    const words = ['neigh', 'replace', this.addressOf(to), ...nowhere]
    await execute('ip', ['-n', this.#nameOf(from), ...words])
  }

  /** Ends a cut. */
  async mend(from: number, to: number): Promise<void> {
    const words = ['neigh', 'delete', this.addressOf(to), 'dev', 'lan']
    await execute('ip', ['-n', this.#nameOf(from), ...words])
  }

  /** Starts `atoll up` on machine `index` and waits until it serves. */
  async up(index: number, words: readonly string[]): Promise<LanNode> {
    const child = spawn('ip', this.#inside(index, ['up', '--json', ...words]), {
      stdio: ['ignore', 'pipe', 'pipe']
    })
    this.#running.add(child)
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_LENGTH_MAX)
    })
    const limit = AbortSignal.timeout(UP_TIMEOUT_MS)
    const [line] = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line', { signal: limit }),
      once(child, 'close', { signal: limit }).then(() => [undefined])
    ]).catch(() => [undefined])
    if (typeof line !== 'string') throw new Error(`Node ${index} does not serve: ${stderr}`)
    return { up: JSON.parse(line) as UpLine, kill: async () => await this.#kill(child) }
  }

  /** Runs a command of `atoll` on machine `index`. @throws what it said when it fails */
  async atoll(index: number, words: readonly string[]): Promise<Buffer> {
    const { stdout } = await execute('ip', this.#inside(index, words), {
      timeout: COMMAND_TIMEOUT_MS,
      killSignal: 'SIGKILL',
      encoding: 'buffer'
    })
    return stdout
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map((child) => this.#kill(child)))
    await rm(this.root, { recursive: true, force: true })
    // Interfaces go with their namespace.
    const removed = await Promise.allSettled(
      this.#namespaces.splice(0).map((name) => execute('ip', ['netns', 'delete', name]))
    )
    const failed = removed.filter((result) => result.status === 'rejected')
    if (failed.length > 0) {
      throw new AggregateError(
        failed.map(({ reason }) => reason as unknown),
        'Namespaces are left'
      )
    }
  }

  async #build(count: number): Promise<void> {
    const hub = await this.#addNamespace('hub')
    // Without a neighbour that asks who listens, a snooping switch would drop multicast.
    const bridge = ['type', 'bridge', 'mcast_snooping', '0', 'forward_delay', '0']
    await execute('ip', ['-n', hub, 'link', 'add', 'switch', ...bridge])
    await execute('ip', ['-n', hub, 'link', 'set', 'switch', 'up'])
    for (let index = 0; index < count; index++) {
      const name = await this.#addNamespace(String(index))
      const port = `port${index}`
      const inside = async (...words: string[]): Promise<void> => {
        await execute('ip', ['-n', name, ...words])
      }
      // Made inside: not even for a moment is there a new interface on the machine itself.
      await inside('link', 'add', 'lan', 'type', 'veth', 'peer', 'name', port, 'netns', hub)
      await execute('ip', ['-n', hub, 'link', 'set', port, 'master', 'switch', 'up'])
      await inside('address', 'add', `${this.addressOf(index)}/24`, 'dev', 'lan')
      await inside('link', 'set', 'lo', 'up')
      await inside('link', 'set', 'lan', 'multicast', 'on', 'up')
      await inside('route', 'add', '224.0.0.0/4', 'dev', 'lan')
    }
  }

  async #addNamespace(suffix: string): Promise<string> {
    const name = `${this.#prefix}-${suffix}`
    await execute('ip', ['netns', 'add', name])
    this.#namespaces.push(name)
    return name
  }

  #nameOf(index: number): string {
    return `${this.#prefix}-${index}`
  }

  /** Arguments of `ip` that run `atoll` on machine `index`; `ip` becomes that process itself. */
  #inside(index: number, words: readonly string[]): string[] {
    const command = [process.execPath, COMMAND, ...words, '--data', this.dirOf(index)]
    return [...this.within(index).slice(1), ...command]
  }

  async #kill(child: ChildProcess): Promise<void> {
    this.#running.delete(child)
    if (child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
  }
}
