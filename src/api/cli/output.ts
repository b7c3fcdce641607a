// What the CLI prints: tables, progress, one-line errors; JSON when asked.

import { formatBytes, formatDuration } from '../../base/units.ts'

/** Where a command prints. Results go to `out`, all else to `err`. */
export type Console = {
  out(line: string): void
  err(line: string): void
  /** Whether a person watches `err`: progress bars and colours only then. */
  readonly isTerminal: boolean
  /** Rewrites the current line of `err`. */
  rewrite(line: string): void
}

export const processConsole: Console = {
  out: (line) => {
    process.stdout.write(`${line}\n`)
  },
  err: (line) => {
    process.stderr.write(`${line}\n`)
  },
  isTerminal: process.stderr.isTTY,
  rewrite: (line) => {
    process.stderr.write(`\r\u001b[2K${line}`)
  }
}

/** @returns rows as lines, columns aligned; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, cell.length)
    })
  }
  return rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd()
  )
}

const BAR_WIDTH = 24
const REDRAW_MS = 100

/** A bar with rate and time left on a terminal; nothing in a pipe. */
export class Progress {
  readonly #console: Console
  readonly #label: string
  readonly #total: number | undefined
  readonly #startedMs = performance.now()
  #drawnMs = 0

  /** @param options.total bytes to come, when that is known. */
  constructor(console: Console, options: { label: string; total?: number | undefined }) {
    this.#console = console
    this.#label = options.label
    this.#total = options.total
  }

  update(bytes: number): void {
    const nowMs = performance.now()
    if (!this.#console.isTerminal || nowMs - this.#drawnMs < REDRAW_MS) return
    this.#drawnMs = nowMs
    const seconds = Math.max(0.001, (nowMs - this.#startedMs) / 1_000)
    const rate = bytes / seconds
    const parts = [this.#label]
    if (this.#total !== undefined && this.#total > 0) {
      const share = Math.min(1, bytes / this.#total)
      const full = Math.round(share * BAR_WIDTH)
      const leftMs = rate > 0 ? ((this.#total - bytes) / rate) * 1_000 : 0
      parts.push(
        `[${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)}] ${Math.floor(share * 100)} %`,
        `${formatBytes(Math.round(rate))}/s`,
        `${formatDuration(Math.max(0, leftMs))} left`
      )
    } else {
      parts.push(formatBytes(bytes), `${formatBytes(Math.round(rate))}/s`)
    }
    this.#console.rewrite(parts.join('  '))
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#console.isTerminal) this.#console.rewrite('')
  }
}
