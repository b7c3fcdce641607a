// Loaded into a node: its disk gets slow and its clock jumps when a file says so and SIGUSR2 comes.
// What is patched is what a slow card and a corrected clock change: how long a write or a sync takes,
// and what time of day it is. The monotonic clock goes on, as it does in truth.

import fs, { readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

/** What is wrong with a node's machine. */
export type Trouble = {
  /** Each write and sync takes so much longer. */
  readonly diskDelayMs: number
  readonly clockOffsetMs: number
}

const { ATOLL_TROUBLE_FILE: path } = process.env
if (path !== undefined) {
  let trouble: Trouble = { diskDelayMs: 0, clockOffsetMs: 0 }
  process.on('SIGUSR2', () => {
    trouble = JSON.parse(readFileSync(path, 'utf8')) as Trouble
  })
  const now = Date.now
  Date.now = () => now() + trouble.clockOffsetMs
  for (const name of ['write', 'writev', 'fsync', 'fdatasync'] as const) {
    const real = fs[name] as (...args: unknown[]) => void
    const slow = (...args: unknown[]): void => {
      const done = args.pop() as (...results: unknown[]) => void
      const { diskDelayMs } = trouble
      const later = (...results: unknown[]): void => {
        if (diskDelayMs === 0) done(...results)
        else setTimeout(() => done(...results), diskDelayMs)
      }
      real(...args, later)
    }
    Object.assign(fs, { [name]: slow })
  }
  syncBuiltinESMExports()
}
