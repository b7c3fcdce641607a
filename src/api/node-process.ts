// A node in a process of its own: for the demo, the end-to-end tests and the chaos run.

import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { MeshError } from '../base/errors.ts'
import { connectToNode, type ApiClient } from './http-client.ts'
import { PACKAGE_FOLDER } from './package-folder.ts'

const COMMAND = join(PACKAGE_FOLDER, 'bin', 'atoll.js')
/** The first line of the command, as it is when a shell starts it. */
const ENGINE_FLAGS = ['--max-semi-space-size=8']
/** What is kept of a process's stderr, for the error that says why it ended. */
const STDERR_LENGTH_MAX = 4_096

/** What `atoll up --json` prints when it serves. */
export type UpLine = {
  peerId: string
  meshId: string
  addresses: string[]
  api: string
  dataDir: string
}

export type NodeProcessOptions = {
  dataDir: string
  /** Words for `atoll up`, besides --data and --json. */
  words?: readonly string[]
  env?: Readonly<Record<string, string>>
  /** A command that the node's own is given to, such as `ip netns exec NAME`; it must become the node. */
  within?: readonly string[]
  /** How long it may take until it serves, milliseconds. */
  timeoutMs?: number
}

export class NodeProcess {
  readonly dataDir: string
  readonly #child: ChildProcess
  readonly #exited: Promise<number>
  #stderr = ''
  #up: UpLine | undefined

  private constructor(options: NodeProcessOptions) {
    const { dataDir, words = [], env = {}, within = [] } = options
    this.dataDir = dataDir
    const up = [...ENGINE_FLAGS, COMMAND, 'up', '--data', dataDir, '--json', ...words]
    const [command = process.execPath, ...rest] = [...within, process.execPath, ...up]
    this.#child = spawn(command, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env }
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_LENGTH_MAX)
    })
    this.#exited = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        if (signal !== null) this.#stderr += `ended by ${signal}`
        resolve(code ?? (signal === 'SIGKILL' ? 137 : 1))
      })
    })
  }

  /** Starts a node and waits until it serves. @throws unreachable with what it said, timeout */
  static async start(options: NodeProcessOptions): Promise<NodeProcess> {
    const node = NodeProcess.spawn(options)
    await node.ready(options.timeoutMs)
    return node
  }

  /** Starts a node and doesn't wait. */
  static spawn(options: NodeProcessOptions): NodeProcess {
    return new NodeProcess(options)
  }

  /** Waits until the node serves. Once only. */
  async ready(timeoutMs = 30_000): Promise<UpLine> {
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })
    const line = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new MeshError(
            'timeout',
            `The node in ${this.dataDir} did not serve in ${timeoutMs} ms: ${this.#stderr}`
          )
        )
      }, timeoutMs)
      lines.once('line', (text) => {
        clearTimeout(timer)
        resolve(text)
      })
      void this.#exited.then((code) => {
        clearTimeout(timer)
        reject(
          new MeshError(
            'unreachable',
            `The node in ${this.dataDir} ended with ${code}: ${this.#stderr.trim()}`
          )
        )
      })
    })
    this.#up = JSON.parse(line) as UpLine
    return this.#up
  }

  /** What it printed when it served. */
  get up(): UpLine {
    if (this.#up === undefined) throw new MeshError('unreachable', 'The node does not serve yet')
    return this.#up
  }

  get stderr(): string {
    return this.#stderr
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Resolves to its exit code; 137 when it was killed. */
  get exited(): Promise<number> {
    return this.#exited
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async client(): Promise<ApiClient> {
    return await connectToNode(this.dataDir)
  }

  /** SIGKILL: no word, no clean-up. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  /** Ctrl-C. @returns the exit code */
  async stop(): Promise<number> {
    this.#child.kill('SIGINT')
    return await this.#exited
  }

  /** Stops or continues the whole process, as a laptop's lid does. */
  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGUSR2'): void {
    this.#child.kill(name)
  }
}
