// Which voter of a group is first where all of a node's groups begin at once: of each group another one.

import type { Replica } from './replica.ts'

/** @returns 0 for the first; -1 for a replica that has no vote */
export function turnOf({ group, id, applied }: Replica): number {
  const { voters, votersOutgoing } = applied.configState
  const all = [...new Set([...voters, ...votersOutgoing])].toSorted((a, b) => a - b)
  const place = all.indexOf(id)
  return place < 0 ? -1 : (place + group) % all.length
}
