// The processes that a bench measures, and asking them.

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** A forked program of this folder that answers each message with one. */
export class Worker<Request, Answer extends { error?: string }> {
  readonly #child: ChildProcess

  /**
   * @param options.isTuned whether the process has the engine settings of Atoll's own
   * @param options.env besides this process's own
   */
  constructor(
    program: string,
    options: { words?: string[]; isTuned?: boolean; env?: Readonly<Record<string, string>> } = {}
  ) {
    const { words = [], isTuned = true, env } = options
    this.#child = fork(join(import.meta.dirname, program), words, {
      // As the command's first lines have it.
      execArgv: isTuned ? ['--max-semi-space-size=8'] : [],
      env: { ...process.env, ...(isTuned ? { UV_THREADPOOL_SIZE: '8' } : {}), ...env }
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async ask(request: Request): Promise<Answer> {
    this.#child.send(request as object)
    const [answer] = (await once(this.#child, 'message')) as [Answer]
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

/** @returns the middle one of an odd number of figures. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
