// What may be wrong with this node, in words, with the next step.

import type { Node } from '../node/node.ts'
import { formatBytes } from '../base/units.ts'

export type Finding = {
  check: string
  ok: boolean
  /** What was found; when it isn't ok, also what to do. */
  text: string
}

const NODE_VERSION_MIN: readonly [number, number] = [22, 13]
const MEMORY_BYTES_MAX: number = 512 * 1_048_576

/** Looks at the node and its mesh. Never throws for what it finds. */
export async function diagnose(node: Node): Promise<{ ok: boolean; findings: Finding[] }> {
  const status = await node.status()
  const { members, blocks } = status
  const silent = members.filter(({ state }) => state === 'suspect' || state === 'dead')
  const self = members.find(({ peerId }) => peerId === node.peerId)
  const usedShare = self === undefined ? 0 : (self.usedBytes ?? 0) / self.capacityBytes
  const failure = node.storeFailure()
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const memoryBytes = process.memoryUsage.rss()
  const findings: Finding[] = [
    {
      check: 'node.js',
      ok:
        major > NODE_VERSION_MIN[0] ||
        (major === NODE_VERSION_MIN[0] && minor >= NODE_VERSION_MIN[1]),
      text: `Node.js ${process.versions.node} (needs ${NODE_VERSION_MIN.join('.')} or newer)`
    },
    {
      check: 'members',
      ok: silent.length === 0,
      text:
        silent.length === 0
          ? `all ${members.length} members answer`
          : `${silent.map(({ name }) => name).join(', ')} did not answer; switch on, or "atoll evict" what is gone for good`
    },
    {
      check: 'failures tolerated',
      ok: status.failuresTolerated > 0,
      text:
        `${members.length} members tolerate ${status.failuresTolerated} failures` +
        (status.failuresTolerated > 0 ? '' : '; join more nodes: three tolerate one')
    },
    {
      check: 'copies',
      ok: blocks.underReplicated === 0 && blocks.missing === 0,
      text:
        `${blocks.underReplicated} blocks lack a copy, ${blocks.missing} are missing` +
        (blocks.missing === 0 ? '' : '; bring back the members that had them')
    },
    {
      check: 'disk',
      ok: failure === undefined && usedShare < 0.95,
      text:
        failure === undefined
          ? `${formatBytes(self?.usedBytes ?? 0)} of ${formatBytes(self?.capacityBytes ?? 0)} used`
          : `the store takes no more: ${failure.message}; check the disk and restart the node`
    },
    {
      check: 'memory',
      ok: memoryBytes < MEMORY_BYTES_MAX,
      text: `${formatBytes(memoryBytes)} resident`
    },
    {
      check: 'addresses',
      ok: status.addresses.length > 0,
      text:
        status.addresses.length > 0
          ? `others reach it at ${status.addresses.join(' or ')}`
          : 'it listens nowhere'
    }
  ]
  return { ok: findings.every(({ ok }) => ok), findings }
}
