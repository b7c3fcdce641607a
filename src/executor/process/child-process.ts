// A process for tasks, as the peer holds it: the channel to it, and how it ended.

import { spawn, type ChildProcess } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import type { Duplex, Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { entryUrl, type EntryName } from './entries.ts'
import { FrameChannel, type Frame } from './frame-channel.ts'

/** What is kept of what it writes to stderr, characters. */
const STDERR_LENGTH_MAX = 8_192
/** How willingly Linux ends it when there is no memory left: before the peer, 1000 at most. */
const OOM_SCORE = 500
/** What tasks see of the peer's environment. */
const ENVIRONMENT = [
  'PATH',
  'HOME',
  'TMPDIR',
  'TZ',
  'LANG',
  'LC_ALL',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'NODE_EXTRA_CA_CERTS'
]

export type ChildExit = {
  readonly code: number | null
  readonly signal: string | null
  /** The end of what it wrote. */
  readonly stderr: string
}

export type ChildOptions = {
  readonly entry: EntryName
  readonly flags: readonly string[]
  readonly cwd: string
}

export class TaskProcess {
  readonly channel: FrameChannel
  readonly #child: ChildProcess
  #stderr = ''

  /** @param onExit called once, when nothing comes from it any more */
  constructor(
    { entry, flags, cwd }: ChildOptions,
    onFrame: (frame: Frame) => void,
    onExit: (exit: ChildExit) => void
  ) {
    const script = fileURLToPath(entryUrl(entry))
    this.#child = spawn(process.execPath, [...flags, script], {
      cwd,
      env: environment(),
      stdio: ['ignore', 'ignore', 'pipe', 'pipe']
    })
    let failure: string | undefined
    this.#child.once('error', (error) => {
      failure = error.message
      if (this.#child.pid === undefined) onExit({ code: null, signal: null, stderr: failure })
    })
    this.#child.once('close', (code, signal) => {
      if (this.#child.pid !== undefined) onExit({ code, signal, stderr: this.#stderr })
    })
    const [, , stderr, socket] = this.#child.stdio as unknown as [null, null, Readable, Duplex]
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_LENGTH_MAX)
    })
    // Without its channel it is of no use, and ends itself where it can.
    this.channel = new FrameChannel(socket, { onFrame, onClose: () => this.kill() })
    if (process.platform === 'linux' && this.#child.pid !== undefined) {
      // Not everywhere allowed, and nothing depends on it.
      writeFile(`/proc/${this.#child.pid}/oom_score_adj`, String(OOM_SCORE)).catch(() => {})
    }
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    ENVIRONMENT.flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value]]
    })
  )
}

/** @returns how it ended, for people: the reason that it gave itself goes first */
export function describeExit({ code, signal, stderr }: ChildExit): string {
  const reason = /^.*(?:FATAL ERROR|Error): .*$/m.exec(stderr)?.[0]
  const how = signal === null ? `exit code ${code}` : signal
  return reason === undefined ? how : `${how}, ${reason.trim()}`
}

/** @returns whether it ended because the heap of a thread met its limit */
export function isOutOfHeap({ stderr }: ChildExit): boolean {
  return stderr.includes('heap out of memory') || stderr.includes('heap limit')
}
