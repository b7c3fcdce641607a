// atoll status, nodes, ring, doctor, leave, evict, scrub: the mesh and its members.

import type { Command } from 'commander'
import { formatBytes } from '../../base/units.ts'
import type { ScrubReport } from '../../blocks/scrub.ts'
import type { MemberStatus, NodeStatus } from '../../node/status.ts'
import type { LayoutReport } from '../../core/ring/layout-report.ts'
import type { Finding } from '../doctor.ts'
import { clientOf, withCommonOptions, type CommandContext, type CommonOptions } from './command.ts'
import { Progress, table } from './output.ts'

type ScrubNode = { peerId: string; report?: ScrubReport; error?: string }
type Ring = Omit<LayoutReport, 'peers'> & {
  version: number
  hash: string
  peers: (LayoutReport['peers'][number] & { name: string })[]
}

export function registerMembers(program: Command, context: CommandContext): void {
  const add = (
    name: string,
    description: string,
    run: (options: CommonOptions) => Promise<void>
  ): void => {
    withCommonOptions(program.command(name)).description(description).action(run)
  }
  add('status', 'show how the mesh is', (options) => showStatus(options, context))
  add('nodes', 'list the members', (options) => showNodes(options, context))
  add('ring', 'show who owns how much', (options) => showRing(options, context))
  add('doctor', 'check this node and say what to do', (options) => doctor(options, context))
  add('leave', 'hand all blocks over, leave the mesh and stop the node', (options) =>
    leave(options, context)
  )
  withCommonOptions(program.command('evict'))
    .description('put a member out for good, such as one that is lost')
    .argument('<peer>', 'its peer id; see "atoll nodes"')
    .action(async (peer: string, options: CommonOptions) => {
      const client = await clientOf(options)
      const path = `evict/${encodeURIComponent(peer)}`
      const result = await client.json(path, { method: 'POST', signal: context.signal })
      context.console.out(
        options.json === true
          ? JSON.stringify(result)
          : `${peer} is out. Its blocks are being copied.`
      )
    })
  withCommonOptions(program.command('scrub'))
    .description('check every block of every node, and mend what is damaged')
    .option('--rate <size>', 'bytes per second and node, such as 50MB')
    .action(async (options: CommonOptions & { rate?: string }) => {
      await scrub(options, context)
    })
}

async function showStatus(
  options: CommonOptions,
  { console, signal }: CommandContext
): Promise<void> {
  const client = await clientOf(options)
  const status = await client.json<NodeStatus>('status', { signal })
  if (options.json === true) {
    console.out(JSON.stringify(status))
    return
  }
  const { blocks, members, shards, failuresTolerated } = status
  const answering = members.filter(({ state }) => state === 'alive' || state === 'leaving').length
  const plural = failuresTolerated === 1 ? 'failure' : 'failures'
  console.out(`mesh     ${status.meshId.slice(0, 12)}…  layout ${status.layout.version}`)
  console.out(`node     ${status.name} (${status.peerId})`)
  console.out(
    `members  ${members.length}, ${answering} answering = ${failuresTolerated} ${plural} tolerated`
  )
  console.out(
    `blocks   ${blocks.count} here (${formatBytes(blocks.bytes)}); in the mesh ${blocks.underReplicated} lack a copy, ${blocks.missing} missing`
  )
  console.out(`shards   ${shards.led} of ${shards.count} have a leader; ${shards.ledHere} led here`)
  if (shards.failure !== undefined) {
    console.out(`         those of this node stopped: ${shards.failure}; see: atoll doctor`)
  }
  console.out('')
  for (const line of nodesTable(members)) console.out(line)
}

async function showNodes(
  options: CommonOptions,
  { console, signal }: CommandContext
): Promise<void> {
  const client = await clientOf(options)
  const { members } = await client.json<NodeStatus>('status', { signal })
  if (options.json === true) console.out(JSON.stringify(members))
  else for (const line of nodesTable(members)) console.out(line)
}

function nodesTable(members: readonly MemberStatus[]): string[] {
  const rows = members.map(({ name, state, zone, usedBytes, capacityBytes, peerId }) => [
    name,
    state,
    zone,
    usedBytes === undefined ? '?' : formatBytes(usedBytes),
    formatBytes(capacityBytes),
    peerId
  ])
  return table([['NAME', 'STATE', 'ZONE', 'USED', 'CAPACITY', 'PEER'], ...rows])
}

async function showRing(
  options: CommonOptions,
  { console, signal }: CommandContext
): Promise<void> {
  const client = await clientOf(options)
  const ring = await client.json<Ring>('ring', { signal })
  if (options.json === true) {
    console.out(JSON.stringify(ring))
    return
  }
  const arcCount = ring.arcsBySpan.reduce((sum, count) => sum + count, 0)
  const rows = ring.peers.map(({ name, zone, weight, load, fair, id }) => [
    name,
    zone,
    String(weight),
    String(load),
    `${((100 * load) / arcCount).toFixed(1)} %`,
    fair > 0 ? (load / fair).toFixed(3) : '-',
    id
  ])
  for (const line of table([
    ['NAME', 'ZONE', 'WEIGHT', 'ARCS', 'OF ALL', 'TO FAIR', 'PEER'],
    ...rows
  ]))
    console.out(line)
  console.out('')
  console.out(
    `layout ${ring.version}: ${arcCount} arcs with ${ring.copies} copies, in ${ring.replicaSetCount} replica sets`
  )
  const spans = ring.arcsBySpan
    .map((count, zones) => ({ count, zones }))
    .filter(({ count }) => count > 0)
  console.out(
    spans
      .map(({ count, zones }) => `${count} arcs span ${zones} ${zones === 1 ? 'zone' : 'zones'}`)
      .join(', ')
  )
  if (ring.shortZones.length > 0) {
    const missing =
      ring.weightMissing === null ? 'more than one node can give' : `weight ${ring.weightMissing}`
    console.out(
      `too little capacity in zone ${ring.shortZones.join(', ')} for all arcs to span ${ring.spanWanted}: it lacks ${missing}`
    )
  }
}

async function doctor(options: CommonOptions, context: CommandContext): Promise<void> {
  const { console, signal } = context
  const client = await clientOf(options)
  const result = await client.json<{ ok: boolean; findings: Finding[] }>('doctor', { signal })
  if (options.json === true) console.out(JSON.stringify(result))
  else
    for (const { ok, check, text } of result.findings)
      console.out(`${ok ? 'ok  ' : 'LOOK'}  ${check}: ${text}`)
  if (!result.ok) context.setExitCode(1)
}

async function leave(options: CommonOptions, { console, signal }: CommandContext): Promise<void> {
  const client = await clientOf(options)
  let hasLeft = false
  for await (const line of client.lines<{ blocksLeft?: number; left?: boolean }>('leave', {
    method: 'POST',
    signal
  })) {
    if (line.left === true) hasLeft = true
    if (line.blocksLeft !== undefined && console.isTerminal)
      console.rewrite(`${line.blocksLeft} blocks left to hand over`)
  }
  if (console.isTerminal) console.rewrite('')
  if (!hasLeft)
    throw new Error('The node stopped before all was handed over; start it and leave again')
  console.out(
    options.json === true ? JSON.stringify({ left: true }) : 'Left the mesh; the node has stopped.'
  )
}

async function scrub(
  options: CommonOptions & { rate?: string },
  context: CommandContext
): Promise<void> {
  const { console, signal } = context
  const client = await clientOf(options)
  const progress = new Progress(console, { label: 'scrubbing' })
  progress.update(0)
  const query = options.rate === undefined ? '' : `?rate=${encodeURIComponent(options.rate)}`
  const { nodes } = await client.json<{ nodes: ScrubNode[] }>(`scrub${query}`, {
    method: 'POST',
    signal
  })
  progress.end()
  if (options.json === true) console.out(JSON.stringify({ nodes }))
  else {
    const rows = nodes.map(({ peerId, report, error }) =>
      report === undefined
        ? [peerId, '-', '-', '-', '-', error ?? '']
        : [
            peerId,
            String(report.checked),
            formatBytes(report.bytes),
            String(report.damaged),
            String(report.mended),
            'done'
          ]
    )
    for (const line of table([['PEER', 'CHECKED', 'BYTES', 'DAMAGED', 'MENDED', ''], ...rows]))
      console.out(line)
  }
  const allWell = nodes.every(
    ({ report }) => report !== undefined && report.mended === report.damaged
  )
  if (!allWell) context.setExitCode(1)
}
