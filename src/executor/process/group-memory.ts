// What the processes of a group hold, where the system tells: on Linux.

import { readFile, readdir } from 'node:fs/promises'
import { KIB } from '../../base/units.ts'

/** After the name of the program, which is in brackets and may have any character in it. */
const GROUP_FIELD = 2

/** @returns the sum of their resident memory, bytes; 0 where it can't be known */
export async function groupBytes(group: number): Promise<number> {
  if (process.platform !== 'linux') return 0
  let sum = 0
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const status = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ')
    if (Number(fields[GROUP_FIELD]) === group) sum += await residentBytes(name)
  }
  return sum
}

async function residentBytes(name: string): Promise<number> {
  const text = await readFile(`/proc/${name}/status`, 'utf8').catch(() => '')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * KIB
}
