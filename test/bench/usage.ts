// What processes use, whatever they run; from Linux's /proc.

import { readdir, readFile } from 'node:fs/promises'

/** Ticks of /proc/PID/stat in a second. */
const CLOCK_TICKS = 100

/** @returns seconds of a processor that a process has used */
export async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS
}

/** @returns these processes, and all that they started and those in turn */
export async function processTrees(roots: readonly number[]): Promise<number[]> {
  const names = (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name))
  const parents = await Promise.all(
    names.map(async (name): Promise<readonly [number, number]> => {
      const text = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
      return [Number(name), Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1])]
    })
  )
  const found = [...roots]
  for (const parent of found) {
    for (const [pid, its] of parents) if (its === parent && !found.includes(pid)) found.push(pid)
  }
  return found
}

export async function residentMib(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]) / 1_024
}

export async function pause(durationMs: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, durationMs)
  })
}
