// atoll up, atoll join: a node in the foreground.

import type { Command } from 'commander'
import { MeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { parseDuration, parseSize } from '../../base/units.ts'
import type { MembershipPreset } from '../../core/membership/config.ts'
import { createNode, type LocalNode } from '../../node/create-node.ts'
import type { NodeOptions } from '../../node/options.ts'
import { clientModule } from '../package-folder.ts'
import { checkApiHost, serveHttpApi, type HttpApi } from '../http-server.ts'
import {
  collect,
  dataDirOf,
  parseLabel,
  withCommonOptions,
  type CommandContext,
  type CommonOptions
} from './command.ts'
import type { Console } from './output.ts'

type UpOptions = CommonOptions & {
  listen?: string[]
  join?: string[]
  api?: string
  name?: string
  zone?: string
  capacity?: string
  label?: string[]
  preset?: string
  grace?: string
  slots?: string
  speed?: string
  taskMemory?: string
  gpus?: string
  accept?: string[]
  allowExec?: boolean
  verbose?: boolean
}

export function registerUp(program: Command, context: CommandContext): void {
  const describe = (command: Command): Command =>
    withCommonOptions(command)
      .option('--listen <multiaddr>', 'address to listen on; repeat for several', collect)
      .option('--api <host:port>', 'address of the local API (a free port of 127.0.0.1)')
      .option('--name <name>', 'what people call this node (the host name)')
      .option('--zone <zone>', 'what fails together with it: a room, a power strip, a site')
      .option(
        '--capacity <size>',
        'how much it stores at most, such as 64GB (80 % of the free disk)'
      )
      .option('--label <key=value>', 'something to know it by; repeat for several', collect)
      .option('--preset <preset>', 'local, lan or wan (lan)')
      .option('--grace <duration>', 'how long a member may be away before its data moves (15m)')
      .option('--slots <count>', 'tasks that it runs at one time, 0 for none (one a processor)')
      .option('--speed <factor>', 'how fast it is beside the usual node (1)')
      .option('--task-memory <size>', 'memory for tasks (60 % of the machine)')
      .option('--gpus <count>', 'GPUs for tasks (0)')
      .option('--accept <submitter>', 'run tasks of these only; repeat for several', collect)
      .option('--allow-exec', 'run commands for whoever is in the mesh')
      .option('--verbose', 'log to stderr what happens')
  describe(program.command('up'))
    .description('start a node: found a mesh in an empty folder, or go on in a used one')
    .option(
      '--join <multiaddr>',
      'address of a node of the mesh to join; repeat for several',
      collect
    )
    .action(async (options: UpOptions) => {
      await up(options, context)
    })
  describe(program.command('join'))
    .description('start a node that joins the mesh of the node at an address')
    .argument('<multiaddr...>', 'what "atoll up" printed on the other machine')
    .action(async (join: string[], options: UpOptions) => {
      await up({ ...options, join }, context)
    })
}

async function up(options: UpOptions, context: CommandContext): Promise<void> {
  const { console, signal } = context
  const nodeOptions = nodeOptionsOf(options, context)
  const api = parseApi(options.api ?? '127.0.0.1:0')
  if (options.json !== true) console.err(`Starting in ${nodeOptions.dataDir} …`)
  const node = await createNode(nodeOptions)
  let httpApi: HttpApi | undefined
  const failed = Promise.withResolvers<void>()
  node.on('failed', () => failed.resolve())
  try {
    httpApi = await serveHttpApi({ node, log: loggerOf(options, console) }, api)
    await node.folder.saveApi({ url: httpApi.url, token: httpApi.token, pid: process.pid })
    node.taskClient = { module: clientModule(), api: httpApi.url, token: httpApi.token }
    announce({ node, api: httpApi, options, console })
    if (options.json !== true) narrate(node, console)
    const stopped = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => stopped.resolve(), { once: true })
    await Promise.race([failed.promise, stopped.promise, node.stopped])
    const failure = node.failure()
    if (failure !== undefined) throw failure
    if (options.json !== true) console.err('Stopping …')
  } finally {
    await node.folder.removeApi()
    // Those who are connected get their answers first: a leave tells of its end.
    await node.stop()
    await httpApi?.close()
  }
}

function nodeOptionsOf(options: UpOptions, context: CommandContext): NodeOptions {
  const { console } = context
  const preset = options.preset as MembershipPreset | undefined
  return {
    dataDir: dataDirOf(options),
    logger: loggerOf(options, console),
    signal: context.signal,
    onWaiting: (reason) =>
      console.err(`Still waiting for the mesh: ${reason}. Trying again until it answers …`),
    ...(options.join === undefined ? {} : { join: options.join }),
    ...(options.listen === undefined ? {} : { listen: options.listen }),
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.zone === undefined ? {} : { zone: options.zone }),
    ...(options.capacity === undefined ? {} : { capacityBytes: parseSize(options.capacity) }),
    ...(options.label === undefined
      ? {}
      : { labels: Object.fromEntries(options.label.map(parseLabel)) }),
    ...(preset === undefined ? {} : { preset }),
    ...(options.grace === undefined ? {} : { graceMs: parseDuration(options.grace) }),
    ...(options.slots === undefined ? {} : { slots: Number(options.slots) }),
    ...(options.speed === undefined ? {} : { speed: Number(options.speed) }),
    ...(options.gpus === undefined ? {} : { gpus: Number(options.gpus) }),
    ...(options.accept === undefined ? {} : { accepts: options.accept }),
    ...(options.taskMemory === undefined ? {} : { taskMemoryBytes: parseSize(options.taskMemory) }),
    allowExec: options.allowExec === true
  }
}

/** Before anything is written: a refusal must not leave a mesh behind. */
function parseApi(text: string): { host: string; port: number } {
  const match = /^(.*):(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match === null || port > 65_535) {
    throw new MeshError(
      'invalid-argument',
      `Cannot use --api "${text}": it takes HOST:PORT, such as 127.0.0.1:4646`
    )
  }
  const host = (match[1] ?? '').replace(/^\[|\]$/g, '')
  checkApiHost(host)
  return { host, port }
}

function announce(started: {
  node: LocalNode
  api: HttpApi
  options: UpOptions
  console: Console
}): void {
  const { node, api, options, console } = started
  if (options.json === true) {
    const { peerId, meshId, addresses } = node
    console.out(
      JSON.stringify({ peerId, meshId, addresses, api: api.url, dataDir: node.folder.dir })
    )
    return
  }
  const members = node.mesh.others().length + 1
  console.out(`Node "${node.mesh.selfRecord().name}" (${node.peerId}) is up.`)
  console.out(
    `Mesh ${node.meshId.slice(0, 12)}…, ${members} ${members === 1 ? 'member' : 'members'}; API at ${api.url}`
  )
  console.out('')
  console.out('On another machine, join with:')
  for (const address of [...node.addresses].toSorted(
    (a, b) => Number(isLoopback(a)) - Number(isLoopback(b))
  )) {
    console.out(`  atoll join ${address}${isLoopback(address) ? '   (this machine only)' : ''}`)
  }
  console.out('')
  console.out('Put a file in with "atoll put FILE"; stop with Ctrl-C.')
}

function isLoopback(address: string): boolean {
  return address.startsWith('/ip4/127.') || address.startsWith('/ip6/::1/')
}

/** Tells a person who comes and goes. */
function narrate(node: LocalNode, console: Console): void {
  node.on('peer:joined', ({ name, peerId }) => console.err(`+ ${name} joined (${peerId})`))
  node.on('peer:suspected', ({ name }) => console.err(`? ${name} does not answer`))
  node.on('peer:recovered', ({ name }) => console.err(`+ ${name} answers again`))
  node.on('peer:left', ({ name, reason }) =>
    console.err(
      `- ${name} ${reason === 'gone' ? 'is gone' : reason === 'left' ? 'left' : 'was evicted'}`
    )
  )
}

/** Errors and warnings always reach the person; the rest with --verbose. */
function loggerOf(options: UpOptions, console: Console): Logger {
  const write =
    (level: string, always: boolean): Logger['info'] =>
    (event, fields = {}) => {
      if (!always && options.verbose !== true) return
      const rest = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
      console.err(`${new Date().toISOString()} ${level} ${event} ${rest.join(' ')}`)
    }
  return {
    debug: write('debug', process.env['ATOLL_LOG'] === 'debug'),
    info: write('info', false),
    warn: write('warn', false),
    error: write('error', options.json !== true)
  }
}
