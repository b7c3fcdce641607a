// Where a process's time goes: a sampling profile while something runs.

import type { Profiler } from 'node:inspector'
import { Session } from 'node:inspector/promises'

const LINES = 14

/** A profile that is being taken. */
export class Profile {
  readonly #session = new Session()

  static async start(): Promise<Profile> {
    const profile = new Profile()
    profile.#session.connect()
    await profile.#session.post('Profiler.enable')
    await profile.#session.post('Profiler.start')
    return profile
  }

  /** @returns the functions with the most time of their own, and their shares */
  async stop(): Promise<string[]> {
    const { profile } = await this.#session.post('Profiler.stop')
    this.#session.disconnect()
    return linesOf(profile)
  }
}

/** Waiting is no time of anybody's: shares are of the time in which the thread was at work. */
function linesOf({ nodes, samples = [] }: Profiler.Profile): string[] {
  const byId = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const counts = new Map<string, number>()
  for (const id of samples) {
    const frame = byId.get(id)
    const file = frame?.url.split('/').slice(-3).join('/') ?? ''
    const name = `${frame?.functionName || '(anonymous)'} ${file}`.trim()
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const idle = counts.get('(idle)') ?? 0
  counts.delete('(idle)')
  const busy = Math.max(1, samples.length - idle)
  const share = (count: number, of: number): string => ((100 * count) / of).toFixed(1).padStart(5)
  const lines = [...counts]
    .toSorted((a, b) => b[1] - a[1])
    .slice(0, LINES)
    .map(([name, count]) => `${share(count, busy)} %  ${name}`)
  return [`${share(busy, Math.max(1, samples.length))} % of the time at work, of that:`, ...lines]
}
