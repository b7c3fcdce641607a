// Machines have another address after each start. Those that all moved while they couldn't tell each
// other know of nobody who is still there.

import type { JobNode } from './job-node.ts'
import type { JobsWorld } from './world.ts'

/** @returns machines that can't find the first one that runs, nor be found, over whomever they know */
export function lostOnes({ running }: JobsWorld): JobNode[] {
  const found = new Set(running.slice(0, 1))
  // Whoever is found while it goes on is looked at, too.
  for (const node of found) {
    for (const other of running) {
      if (knows(node, other) || knows(other, node)) found.add(other)
    }
  }
  return running.filter((node) => !found.has(node))
}

/** Whether a machine is connected to another one, or knows where it is. */
function knows({ peer, told }: JobNode, other: JobNode): boolean {
  const { address, identity } = other.peer
  if (told.includes(address)) return true
  if (peer.network?.connected().some((one) => one === identity.peerId) === true) return true
  const members = peer.node?.mesh.members() ?? []
  return members.some(({ record }) => record.addresses.includes(address))
}
