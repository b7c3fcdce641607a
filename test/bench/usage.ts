// What processes use, whatever they run; from Linux's /proc.

import { readFile } from 'node:fs/promises'

/** Ticks of /proc/PID/stat in a second. */
const CLOCK_TICKS = 100

/** @returns seconds of a processor that a process has used */
export async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS
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
