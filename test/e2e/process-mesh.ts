// What the end-to-end tests share: nodes in processes of their own with folders that go away
// afterwards, the `atoll` command as a user runs it, and waiting with a bound.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NodeProcess, type NodeProcessOptions } from '../../src/api/node-process.ts'
import { createRandom } from '../../src/base/random.ts'
import type { NodeStatus } from '../../src/node/status.ts'

export const COMMAND: string = join(import.meta.dirname, '..', '..', 'bin', 'atoll.js')
const POLL_MS = 100
const COMMAND_TIMEOUT_MS = 60_000

export type CommandResult = { code: number; stdout: Buffer; stderr: string }

/** Real nodes of one test. Whatever still runs when the test ends is killed by its id. */
export class ProcessMesh implements AsyncDisposable {
  readonly root: string
  readonly nodes: NodeProcess[] = []
  readonly #started: NodeProcess[] = []

  private constructor(root: string) {
    this.root = root
  }

  /** @param count nodes to start, all joined to the first. */
  static async create(count = 0, words: readonly string[] = []): Promise<ProcessMesh> {
    const mesh = new ProcessMesh(await mkdtemp(join(tmpdir(), 'atoll-e2e-')))
    try {
      for (let index = 0; index < count; index++) await mesh.start(index, { words })
      if (count > 1) await mesh.everybodySees(count)
      return mesh
    } catch (error) {
      await mesh[Symbol.asyncDispose]()
      throw error
    }
  }

  dirOf(index: number | string): string {
    return join(this.root, String(index))
  }

  /** The arguments of `up` that each node of a test gets. */
  wordsFor(index: number): string[] {
    return ['--preset', 'local', '--name', `n${index}`, '--capacity', '1GiB']
  }

  /** Starts node `index`; a new one joins the first that runs. */
  async start(
    index: number,
    options: Partial<NodeProcessOptions> & { join?: string | undefined } = {}
  ): Promise<NodeProcess> {
    const first = this.nodes.find((node) => node?.isRunning)
    const isNew = this.nodes[index] === undefined
    const address = 'join' in options ? options.join : isNew ? first?.up.addresses[0] : undefined
    const node = this.spawn({
      dataDir: this.dirOf(index),
      ...options,
      words: [
        ...this.wordsFor(index),
        ...(address === undefined ? [] : ['--join', address]),
        ...(options.words ?? [])
      ]
    })
    this.nodes[index] = node
    await node.ready(options.timeoutMs ?? 60_000)
    return node
  }

  /** Starts a process that this mesh ends. */
  spawn(options: NodeProcessOptions): NodeProcess {
    const node = NodeProcess.spawn(options)
    this.#started.push(node)
    return node
  }

  at(index: number): NodeProcess {
    const node = this.nodes[index]
    if (node === undefined) throw new Error(`There is no node ${index}`)
    return node
  }

  get running(): NodeProcess[] {
    return this.nodes.filter((node) => node.isRunning)
  }

  async status(index: number): Promise<NodeStatus> {
    return await statusOf(this.at(index))
  }

  /** Runs a command against node `index`. */
  async atoll(index: number, words: readonly string[], input?: Uint8Array): Promise<CommandResult> {
    return await atoll([...words, '--data', this.dirOf(index)], { input })
  }

  /** Puts bytes through node `index` by the command. @returns what it printed */
  async put(
    index: number,
    bytes: Uint8Array
  ): Promise<{ cid: string; bytes: number; blocks: number; copiesWritten: number }> {
    const path = await this.file(bytes)
    const { code, stdout, stderr } = await this.atoll(index, ['put', path, '--json'])
    if (code !== 0) throw new Error(`put ended with ${code}: ${stderr}`)
    return JSON.parse(stdout.toString()) as Awaited<ReturnType<ProcessMesh['put']>>
  }

  /** Reads a file through node `index` by the command. @throws what it said */
  async get(index: number, cid: string): Promise<Buffer> {
    const { code, stdout, stderr } = await this.atoll(index, ['get', cid])
    if (code !== 0) throw new Error(`get ended with ${code}: ${stderr}`)
    return stdout
  }

  /** Writes a file for a test to put. */
  async file(bytes: Uint8Array): Promise<string> {
    const name = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
    const path = join(this.root, `file-${name}`)
    await writeFile(path, bytes)
    return path
  }

  /** Waits until every node that runs sees exactly `count` others and itself as alive. */
  async everybodySees(count: number, limitMs = 60_000): Promise<void> {
    await until(`all see ${count} members alive`, limitMs, async () => {
      const counts = await Promise.all(
        this.running.map(async (node) => {
          const { members } = await statusOf(node)
          return members.filter(({ state }) => state === 'alive').length
        })
      )
      return counts.every((seen) => seen === count) || `they see ${counts.join(', ')}`
    })
  }

  /** Waits until no block lacks a copy and none has to be moved. */
  async settled(index: number, limitMs = 60_000): Promise<void> {
    await until('all blocks are where they belong', limitMs, async () => {
      const { blocks } = await this.status(index)
      const left = blocks.underReplicated + blocks.missing + blocks.pendingMoves
      return left === 0 || JSON.stringify(blocks)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#started.map((node) => (node.isRunning ? node.kill() : node.exited)))
    await rm(this.root, { recursive: true, force: true })
  }
}

export async function statusOf(node: NodeProcess): Promise<NodeStatus> {
  const client = await node.client()
  return await client.json<NodeStatus>('status', { signal: AbortSignal.timeout(10_000) })
}

/**
 * Asks again and again until `isDone` says true; what else it says, or throws, tells where it is.
 *
 * @throws when that takes longer than `limitMs`
 */
export async function until(
  what: string,
  limitMs: number,
  isDone: () => Promise<boolean | string>
): Promise<void> {
  const endMs = performance.now() + limitMs
  for (;;) {
    const answer = await isDone().catch((error: unknown) => String(error))
    if (answer === true) return
    if (performance.now() > endMs) {
      throw new Error(`Waited ${limitMs} ms until ${what}, in vain: ${String(answer)}`)
    }
    await pause(POLL_MS)
  }
}

/** @returns a node's exit code. @throws when it goes on, so that no test hangs and leaves nodes behind */
export async function exitOf(node: NodeProcess, limitMs = 60_000): Promise<number> {
  await until('the node has ended', limitMs, () => Promise.resolve(!node.isRunning))
  return await node.exited
}

export async function pause(durationMs: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, durationMs)
  })
}

/** Runs `bin/atoll.js` with the Node.js of the tests, or another one. */
export async function atoll(
  words: readonly string[],
  options: {
    input?: Uint8Array | undefined
    node?: string
    env?: Record<string, string>
    /** Called with the process's id, for a test that ends it early. */
    onStart?: (pid: number) => void
  } = {}
): Promise<CommandResult> {
  const child = spawn(options.node ?? process.execPath, [COMMAND, ...words], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    timeout: COMMAND_TIMEOUT_MS,
    killSignal: 'SIGKILL'
  })
  const stdout: Buffer[] = []
  let stderr = ''
  child.stdout.on('data', (part: Buffer) => stdout.push(part))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  // A command that ends early doesn't read its input to the end.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? new Uint8Array(0))
  options.onStart?.(child.pid ?? 0)
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode, signal) => resolve(exitCode ?? (signal === 'SIGKILL' ? 137 : 1)))
  })
  return { code, stdout: Buffer.concat(stdout), stderr }
}

/** @returns bytes that no other seed gives. */
export function bytesOf(length: number, seed: number): Uint8Array {
  const random = createRandom(seed)
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  for (let offset = 0; offset + 4 <= length; offset += 4) view.setUint32(offset, random.u32())
  for (let offset = length - (length % 4); offset < length; offset++) bytes[offset] = random.u32()
  return bytes
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** @returns a port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  return await new Promise<number>((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

/** @returns where a data folder keeps a block, or undefined when it isn't there. */
export async function blockFile(dataDir: string, id: string): Promise<string | undefined> {
  const root = join(dataDir, 'blocks')
  for (const folder of await readdir(root)) {
    if (!/^[0-9a-f]{2}$/.test(folder)) continue
    if ((await readdir(join(root, folder))).includes(id)) return join(root, folder, id)
  }
  return undefined
}

/** @returns path and hash of every file below a folder, to see whether anything was changed. */
export async function fingerprint(dir: string): Promise<string[]> {
  const lines: string[] = []
  for (const entry of await readdir(dir, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) lines.push(`${path.slice(dir.length)} ${sha256(await readFile(path))}`)
  }
  return lines.toSorted()
}
