// What the machine says of processes, for tests that must leave none behind.

import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Waits until something holds; how long that takes is the machine's affair. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (let round = 0; round < 2_000 && !holds(); round++) await sleep(10)
  expect(holds(), what).toBe(true)
}

export async function untilGone(pids: readonly number[]): Promise<void> {
  await until(`processes ${pids.join(', ')} end`, () => !pids.some(isAlive))
}
