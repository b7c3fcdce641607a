// atoll topology …: operators that run for long, with streams between them.

import type { Command } from 'commander'
import { formatDuration, parseDuration } from '../../base/units.ts'
import { jobIdOf } from '../../services/topology/keys.ts'
import { topologyOfFile } from '../../services/topology/topology-code.ts'
import type { TopologyStatus } from '../../services/topology/topologies.ts'
import { meshOf, withCommonOptions } from './command.ts'
import type { CommandContext, CommonOptions } from './command.ts'
import { table } from './output.ts'

type StopWords = CommonOptions & { drain?: string }
type StatusWords = CommonOptions & { once?: boolean }

/** Figures are told once a second. */
const REDRAW_MS = 1_000

const FILE_HELP = `
FILE exports as its default what topology() of atoll-mesh makes: spouts, which are generators, and bolts,
functions of a tuple. It may be TypeScript and import what it likes; all of it travels. Each instance of
an operator has a slot of a node; one that is lost with its node begins elsewhere.`

export function registerTopology(program: Command, context: CommandContext): void {
  const topology = program
    .command('topology')
    .description('run spouts and bolts with streams of tuples between them')
  const add = (name: string, description: string): Command =>
    withCommonOptions(topology.command(name)).description(description)
  add('deploy', 'have the topology of a file run by the mesh')
    .argument('<file>')
    .addHelpText('after', FILE_HELP)
    .action(async (file: string, options: CommonOptions) => {
      await deploy(file, options, context)
    })
  add('list', 'list the topologies of the mesh').action(async (options: CommonOptions) => {
    await list(options, context)
  })
  add('status', 'what its operators do; goes on while it runs, on a terminal')
    .argument('<name>')
    .option('--once', 'print it and go')
    .action(async (name: string, options: StatusWords) => {
      await status(name, options, context)
    })
  add('stop', 'end it: what is under way is processed first')
    .argument('<name>')
    .option('--drain <duration>', 'how long that may take (30s)')
    .action(async (name: string, options: StopWords) => {
      await stop(name, options, context)
    })
}

async function deploy(
  file: string,
  options: CommonOptions,
  context: CommandContext
): Promise<void> {
  const { console, signal } = context
  const bundled = await topologyOfFile(file)
  await using mesh = await meshOf(options, context)
  const { name } = await mesh.deploy(bundled, { signal })
  if (options.json === true) console.out(JSON.stringify({ topology: name }))
  else console.out(`${name} is deployed; see: atoll topology status ${name}`)
}

async function list(options: CommonOptions, context: CommandContext): Promise<void> {
  const { console, signal } = context
  await using mesh = await meshOf(options, context)
  const topologies = await mesh.topologies({ signal })
  if (options.json === true) {
    for (const { name, ...info } of topologies) {
      console.out(JSON.stringify({ topology: name, ...info }))
    }
    return
  }
  const rows = topologies.map(({ name, state, running, instances }) => {
    return [name, state, `${running}/${instances}`]
  })
  for (const line of table([['TOPOLOGY', 'STATE', 'RUNNING'], ...rows])) console.out(line)
}

async function status(name: string, options: StatusWords, context: CommandContext): Promise<void> {
  const { console, signal } = context
  await using mesh = await meshOf(options, context)
  const running = mesh.topology(name)
  if (options.json === true) {
    const { name: topology, ...rest } = await running.status({ signal })
    console.out(JSON.stringify({ topology, ...rest }))
    return
  }
  const isLive = options.once !== true && console.isTerminal && process.stdout.isTTY
  for (let lineCount = 0; ;) {
    const found = await running.status({ signal })
    const lines = linesOf(found)
    // Over what was there before.
    if (lineCount > 0) process.stdout.write(`\u001b[${lineCount}A\u001b[J`)
    for (const line of lines) console.out(line)
    lineCount = lines.length
    if (!isLive || (found.state !== 'open' && found.state !== 'stuck')) return
    await pause(REDRAW_MS, signal)
  }
}

async function stop(name: string, options: StopWords, context: CommandContext): Promise<void> {
  const { console, signal, setExitCode } = context
  const drain = options.drain === undefined ? {} : { drainMs: parseDuration(options.drain) }
  await using mesh = await meshOf(options, context)
  const isDrained = await mesh.topology(name).stop({ signal, ...drain })
  if (options.json === true) console.out(JSON.stringify({ topology: name, drained: isDrained }))
  else console.out(isDrained ? 'stopped, all is processed' : 'stopped, not all was processed')
  if (!isDrained) setExitCode(1)
}

function linesOf({ name, state, running, operators }: TopologyStatus): string[] {
  const head = [
    'OPERATOR',
    'NODE',
    'IN',
    'OUT',
    'ACKED',
    'FAILED',
    'AGAIN',
    'RATE',
    'QUEUE',
    'TOLD'
  ]
  const rows = operators.flatMap((operator) =>
    operator.instances.map(({ instance, peer = '', attempt, atMs, error, ...figures }) => {
      const { in: came = 0, out = 0, acked = 0, failed = 0, replayed = 0, rate = 0 } = figures
      const toldMs = atMs === undefined ? undefined : Math.max(0, Date.now() - atMs)
      const told = toldMs === undefined ? 'never' : `${formatDuration(toldMs)} ago`
      const numbers = [came, out, acked, failed, replayed].map(String)
      const queue = String((figures.queue ?? 0) + (figures.pending ?? 0))
      const place = peer === '' ? '-' : `${peer.slice(-8)}#${attempt ?? 0}`
      const where = error === undefined ? place : 'given up'
      return [`${operator.name}.${instance}`, where, ...numbers, `${rate}/s`, queue, told]
    })
  )
  const errors = operators.flatMap((operator) =>
    operator.instances.flatMap(({ instance, error }) =>
      error === undefined ? [] : [`${operator.name}.${instance}: ${error.message} (${error.code})`]
    )
  )
  const hint = `begin them again: atoll job retry ${jobIdOf(name)}`
  return [
    `${name}: ${state}, ${running} of ${rows.length} instances run`,
    ...table([head, ...rows]),
    ...(errors.length > 0 ? [...errors, hint] : [])
  ]
}

async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, durationMs)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
