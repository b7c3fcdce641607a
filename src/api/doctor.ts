// What may be wrong with this node, in words, with the next step.

import type { Node } from '../node/node.ts'
import type { GroupStatus } from '../node/shard-groups.ts'
import type { NodeStatus } from '../node/status.ts'
import { formatBytes } from '../base/units.ts'
import { generationOrdinal } from '../core/groups/roster.ts'
import { nameOf } from '../shard/refound.ts'
import { listed } from './listed.ts'

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
  const [status, { groups }] = await Promise.all([node.status(), node.groups.report()])
  const findings = [
    versionFinding(),
    ...meshFindings(status),
    shardsFinding(groups),
    ...setAsideFinding(node),
    ...storeFindings(node, status),
    ...processFindings(status)
  ]
  return { ok: findings.every(({ ok }) => ok), findings }
}

function versionFinding(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return {
    check: 'node.js',
    ok:
      major > NODE_VERSION_MIN[0] ||
      (major === NODE_VERSION_MIN[0] && minor >= NODE_VERSION_MIN[1]),
    text: `Node.js ${process.versions.node} (needs ${NODE_VERSION_MIN.join('.')} or newer)`
  }
}

function meshFindings({ members, blocks, failuresTolerated }: NodeStatus): Finding[] {
  const silent = members.filter(({ state }) => state === 'suspect' || state === 'dead')
  return [
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
      ok: failuresTolerated > 0,
      text:
        `${members.length} members tolerate ${failuresTolerated} failures` +
        (failuresTolerated > 0 ? '' : '; join more nodes: three tolerate one')
    },
    {
      check: 'copies',
      ok: blocks.underReplicated === 0 && blocks.missing === 0,
      text:
        `${blocks.underReplicated} blocks lack a copy, ${blocks.missing} are missing` +
        (blocks.missing === 0 ? '' : '; bring back the members that had them')
    }
  ]
}

function shardsFinding(groups: readonly GroupStatus[]): Finding {
  const check = 'shards'
  const leaderless = groups.filter(({ leader }) => leader === undefined)
  const text = `${groups.length - leaderless.length} of ${groups.length} have a leader`
  if (leaderless.length === 0) return { check, ok: true, text }
  const names = listed(leaderless.map(({ shard }) => String(shard)))
  const advice =
    `${names} can't be read or written until a majority of their members answers; bring those back. ` +
    'When they are lost for good: atoll recover'
  return { check, ok: false, text: `${text}; ${advice}` }
}

function setAsideFinding(node: Node): Finding[] {
  const setAside = node.shardLayer.setAside()
  if (setAside.length === 0) return []
  const names = listed(
    setAside.map(({ group, generation, index }) => {
      return `${nameOf(group)} up to entry ${index} of generation ${generationOrdinal(generation)}`
    })
  )
  const text = `kept here since it was recovered from others: ${names}`
  return [{ check: 'set aside', ok: true, text }]
}

function storeFindings(node: Node, { members, shards }: NodeStatus): Finding[] {
  const self = members.find(({ peerId }) => peerId === node.peerId)
  const usedShare = self === undefined ? 0 : (self.usedBytes ?? 0) / self.capacityBytes
  const failure = node.storeFailure()
  return [
    {
      check: 'log and state',
      ok: shards.failure === undefined,
      text:
        shards.failure === undefined
          ? 'the log and the state of shards take writes'
          : `this node keeps no shards any more: ${shards.failure}; check the disk and restart the node`
    },
    {
      check: 'disk',
      ok: failure === undefined && usedShare < 0.95,
      text:
        failure === undefined
          ? `${formatBytes(self?.usedBytes ?? 0)} of ${formatBytes(self?.capacityBytes ?? 0)} used`
          : `the store takes no more: ${failure.message}; check the disk and restart the node`
    }
  ]
}

function processFindings({ addresses }: NodeStatus): Finding[] {
  const memoryBytes = process.memoryUsage.rss()
  return [
    {
      check: 'memory',
      ok: memoryBytes < MEMORY_BYTES_MAX,
      text: `${formatBytes(memoryBytes)} resident`
    },
    {
      check: 'addresses',
      ok: addresses.length > 0,
      text:
        addresses.length > 0 ? `others reach it at ${addresses.join(' or ')}` : 'it listens nowhere'
    }
  ]
}
