// atoll shards, recover: the groups that agree, and what is done when one has lost its majority for good.

import type { Command } from 'commander'
import { isMeshError, MeshError } from '../../base/errors.ts'
import { compareText } from '../../base/ids.ts'
import { generationOrdinal } from '../../core/groups/roster.ts'
import type {
  GroupsReport,
  GroupStatus,
  NodeGroups,
  Recovery,
  Survivor
} from '../../node/shard-groups.ts'
import { SYSTEM, shardNameOf, type ShardName } from '../../shard/shards.ts'
import type { ApiClient } from '../http-client.ts'
import { listed } from '../listed.ts'
import { clientOf, withCommonOptions, type CommandContext, type CommonOptions } from './command.ts'
import { table, type Console } from './output.ts'

type Recovered = Recovery & { readonly newGeneration: number }
type RecoverOptions = CommonOptions & { shard: string; force?: boolean }

const ALL = 'all'

export function registerShards(program: Command, context: CommandContext): void {
  withCommonOptions(program.command('shards'))
    .description('show who leads and votes in each shard')
    .action((options: CommonOptions) => showShards(options, context))
  withCommonOptions(program.command('recover'))
    .description('found a shard anew that has lost the majority of its replicas for good')
    .requiredOption('--shard <n>', `its number, "${SYSTEM}", or "${ALL}" that have no leader`)
    .option('--force', 'do it; what only the missing replicas had is lost')
    .action((options: RecoverOptions) => recover(options, context))
}

async function showShards(
  options: CommonOptions,
  { console, signal, setExitCode }: CommandContext
): Promise<void> {
  const client = await clientOf(options)
  const report = await client.json<GroupsReport>('shards', { signal })
  if (options.json === true) {
    console.out(JSON.stringify(rowsOf(report.groups)))
    return
  }
  const names = new Map(report.nodes.map(({ peerId, name }) => [peerId, name]))
  const named = (peer: GroupStatus['voters'][number]): string => names.get(peer) ?? peer
  const rows = report.groups.map((group) => [
    String(group.shard),
    group.leader === undefined ? '-' : named(group.leader),
    String(group.term),
    group.voters.map(named).join(' '),
    group.learners.map(named).join(' ') || '-',
    String(group.commit),
    String(group.applied)
  ])
  const head = ['SHARD', 'LEADER', 'TERM', 'VOTERS', 'LEARNERS', 'COMMIT', 'APPLIED']
  for (const line of table([head, ...rows])) console.out(line)
  console.out('')
  const nodes = report.nodes.map(nodeRow).toSorted(([a = ''], [b = '']) => compareText(a, b))
  for (const line of table([['NODE', 'LEADS', 'REPLICAS', ''], ...nodes])) console.out(line)
  console.out('')
  for (const line of troubles(report.groups)) console.out(line)
  if (report.groups.some(({ leader }) => leader === undefined)) setExitCode(1)
}

/** As they are promised to programs: shards by number, then the system group. */
function rowsOf(groups: readonly GroupStatus[]): object[] {
  const isSystem = ({ shard }: GroupStatus): boolean => shard === SYSTEM
  const ordered = [...groups.filter((group) => !isSystem(group)), ...groups.filter(isSystem)]
  return ordered.map(({ shard, leader, term, voters, learners, commit, applied }) => {
    return { shard, leader: leader ?? null, term, voters, learners, commit, applied }
  })
}

function nodeRow({ name, leads, replicas, failure }: NodeGroups): string[] {
  if (replicas === undefined) return [name, '?', '?', 'does not answer']
  return [name, String(leads), String(replicas), failure === '' ? '' : `stopped: ${failure}`]
}

function troubles(groups: readonly GroupStatus[]): string[] {
  const shardsOf = (wrong: readonly GroupStatus[]): string =>
    listed(wrong.map(({ shard }) => String(shard)))
  const leaderless = groups.filter(({ leader }) => leader === undefined)
  const few = groups.filter(({ voters, votersWanted }) => voters.length < votersWanted)
  const lines: string[] = []
  if (leaderless.length > 0) {
    lines.push(
      `${leaderless.length} without a leader: ${shardsOf(leaderless)}. Bring back the members that have them; ` +
        'if those are lost for good: atoll recover --shard N'
    )
  }
  if (few.length > 0) {
    lines.push(`${few.length} with fewer voters than they should have: ${shardsOf(few)}`)
  }
  return lines.length > 0 ? lines : [`All ${groups.length} have a leader and all their voters.`]
}

async function recover(options: RecoverOptions, context: CommandContext): Promise<void> {
  const { console, signal } = context
  if (options.shard !== ALL) shardNameOf(options.shard)
  const client = await clientOf(options)
  const shards = options.shard === ALL ? await leaderless(client, signal) : [options.shard]
  const done: (Recovery | Recovered)[] = []
  for (const shard of shards) {
    try {
      done.push(await recoverOne(client, shard, { options, context }))
    } catch (error) {
      // Of several, one may have elected a leader meanwhile.
      if (options.shard !== ALL || !isMeshError(error)) throw error
      console.err(`atoll: ${error.message}`)
      context.setExitCode(1)
    }
  }
  if (options.json === true) console.out(JSON.stringify(options.shard === ALL ? done : done[0]))
  if (options.force !== true) {
    const words = 'Nothing was done. To do it, when you are sure that they never come back'
    console.err(`${words}: atoll recover --shard ${options.shard} --force`)
    context.setExitCode(1)
  }
}

async function recoverOne(
  client: ApiClient,
  shard: string,
  { options, context }: { options: RecoverOptions; context: CommandContext }
): Promise<Recovery | Recovered> {
  const { console, signal } = context
  const path = `recover/${encodeURIComponent(shard)}`
  const isShown = options.json !== true
  if (options.force !== true) {
    const plan = await client.json<Recovery>(path, { signal })
    if (isShown) sayPlan(console, plan)
    return plan
  }
  const result = await client.json<Recovered>(path, { method: 'POST', signal })
  if (isShown) sayDone(console, result)
  return result
}

/** @throws conflict when there is nothing to recover */
async function leaderless(client: ApiClient, signal: AbortSignal): Promise<string[]> {
  const { groups } = await client.json<GroupsReport>('shards', { signal })
  const found = groups.filter(({ leader }) => leader === undefined)
  if (found.length > 0) return found.map(({ shard }) => String(shard))
  throw new MeshError('conflict', 'Every shard has a leader: there is nothing to recover')
}

function sayPlan(console: Console, plan: Recovery): void {
  const [best, ...others] = plan.survivors as [Survivor, ...Survivor[]]
  console.out(`${titleOf(plan.shard)} has lost its majority: ${missingOf(plan)} not there.`)
  console.out(`  It would go on from ${best.name}, whose log ends with entry ${best.lastIndex}`)
  for (const { name, lastIndex } of others) {
    console.out(`  (${name} is left too, with entries up to ${lastIndex})`)
  }
  console.out(`  ${lossOf(plan)}`)
}

function sayDone(console: Console, result: Recovered): void {
  const [best] = result.survivors as [Survivor]
  console.out(
    `${titleOf(result.shard)} goes on from ${best.name}, as generation ${generationOrdinal(result.newGeneration)}; it answers.`
  )
  console.out(`  ${missingOf(result)} not there. ${lossOf(result)}`)
  const peers = listed(result.missing.map(({ peerId }) => peerId))
  console.out(`  For others to take their place at once: atoll evict PEER (${peers})`)
}

function titleOf(shard: ShardName): string {
  return shard === SYSTEM ? 'The system group' : `Shard ${shard}`
}

function missingOf({ missing }: Recovery): string {
  const verb = missing.length === 1 ? 'is' : 'are'
  return `${listed(missing.map(({ name }) => name))} ${verb}`
}

/** What is certain, and what nobody can know. */
function lossOf({ survivors, commit }: Recovery): string {
  const [best] = survivors as [Survivor]
  const certain =
    commit > best.lastIndex ? `Entries ${best.lastIndex + 1} to ${commit} are lost. ` : ''
  return `${certain}What was acknowledged after entry ${best.lastIndex}, if anything was, is lost.`
}
