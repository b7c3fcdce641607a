// atoll kv put, get, del, list, watch, txn: keys and values.

import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import type { Command } from 'commander'
import { MeshError, errorMessage } from '../../base/errors.ts'
import type { ListResult, DeleteResult } from '../../services/kv/txn.ts'
import { KvEntry } from '../../services/kv/entry.ts'
import type { RemoteNode } from '../remote/connect.ts'
import { meshOf, parseCount, withCommonOptions } from './command.ts'
import type { CommandContext, CommonOptions } from './command.ts'
import { base64Of, entryJson, eventJson, keyJson, oneLine, textOf, valueJson } from './kv-text.ts'
import { TXN_HELP, parseTxn } from './txn-file.ts'

type PutOptions = CommonOptions & { ifAbsent?: boolean; ifVersion?: string }
type GetOptions = CommonOptions & { stale?: boolean; raw?: boolean }
type ListOptions = CommonOptions & { stale?: boolean; limit?: string }
type WatchOptions = CommonOptions & {
  key?: boolean
  from?: string
  previous?: boolean
  count?: string
}

const KEYS_HELP = `
A key is SPACE/PATH; keys of one space are atomic, ordered and watched together. What is not UTF-8 is
shown as base64; JSON then says "valueBase64": true, or "keyBase64": true.`

export function registerKv(program: Command, context: CommandContext): void {
  const kv = program
    .command('kv')
    .description('keys and values that the whole mesh agrees on')
    .addHelpText('after', KEYS_HELP)
  const add = (name: string, description: string): Command =>
    withCommonOptions(kv.command(name)).description(description).addHelpText('after', KEYS_HELP)
  add('put', 'write a key')
    .argument('<key>')
    .argument('<value>', 'the value, or - for standard input')
    .option('--if-absent', "only if the key isn't there")
    .option('--if-version <number>', 'only if the key has this version')
    .action(async (key: string, value: string, options: PutOptions) => {
      await put({ key, value }, options, context)
    })
  add('get', 'read a key')
    .argument('<key>')
    .option('--stale', 'read what this node has: works without a majority, may show the past')
    .option('--raw', 'write the bytes of the value as they are, and nothing else')
    .action(async (key: string, options: GetOptions) => {
      await get(key, options, context)
    })
  add('del', 'delete a key')
    .argument('<key>')
    .action(async (key: string, options: CommonOptions) => {
      await del(key, options, context)
    })
  add('list', 'list keys in their order, a line each')
    .argument('[prefix]', 'what they begin with, such as config/; all of them unless given', '')
    .option('--stale', 'read what this node has')
    .option('--limit <count>', 'so many at most')
    .action(async (prefix: string, options: ListOptions) => {
      await list(prefix, options, context)
    })
  add('watch', 'print every change as it comes, a line each, until Ctrl-C')
    .argument('<prefix>', 'what the keys begin with, within one space: config/')
    .option('--key', 'only the key that is called so')
    .option('--from <revision>', 'from this revision on; from now on unless given')
    .option('--previous', 'with what was there before')
    .option('--count <events>', 'end after so many')
    .action(async (prefix: string, options: WatchOptions) => {
      await watch(prefix, options, context)
    })
  add('txn', 'do several things at once, if conditions hold')
    .argument('<file>', 'path of a file, or - for standard input')
    .addHelpText('after', TXN_HELP)
    .action(async (file: string, options: CommonOptions) => {
      await txn(file, options, context)
    })
}

async function put(
  { key, value: given }: { key: string; value: string },
  options: PutOptions,
  context: CommandContext
): Promise<void> {
  const value = given === '-' ? await readInput() : Buffer.from(given)
  const { ifAbsent } = options
  const ifVersion = options.ifVersion === undefined ? undefined : parseCount(options.ifVersion, 0)
  await withMesh(options, context, async ({ kv }, { signal, console }) => {
    const { revision } = await kv.put(key, value, { ifAbsent, ifVersion, signal })
    const json = { key, ...valueJson(value), revision }
    console.out(options.json === true ? JSON.stringify(json) : `revision ${revision}`)
  })
}

async function get(key: string, options: GetOptions, context: CommandContext): Promise<void> {
  await withMesh(options, context, async ({ kv }, { signal, console }) => {
    const { entry, revision } = await kv.read(key, { stale: options.stale, signal })
    if (entry === undefined) throw new MeshError('not-found', `There is no key "${key}"`)
    if (options.raw === true) {
      process.stdout.write(entry.value)
      return
    }
    if (options.json === true) {
      const read = options.stale === true ? { readRevision: revision } : {}
      console.out(JSON.stringify({ ...entryJson(entry), ...read }))
      return
    }
    const text = textOf(entry.value)
    console.out(text ?? base64Of(entry.value))
    if (text === undefined) console.err('(base64, for it is not UTF-8; --raw writes the bytes)')
    if (options.stale === true) console.err(`(as of revision ${revision})`)
  })
}

async function del(key: string, options: CommonOptions, context: CommandContext): Promise<void> {
  await withMesh(options, context, async ({ kv }, { signal, console }) => {
    const { deleted, revision } = await kv.delete(key, { signal })
    if (options.json === true) console.out(JSON.stringify({ key, deleted, revision }))
    else console.out(deleted ? `revision ${revision}` : 'it was not there')
  })
}

async function list(prefix: string, options: ListOptions, context: CommandContext): Promise<void> {
  const limit = options.limit === undefined ? undefined : parseCount(options.limit, 1)
  await withMesh(options, context, async ({ kv }, { signal, console }) => {
    for await (const entry of kv.list(prefix, { stale: options.stale, limit, signal })) {
      const line = `${oneLine(entry.keyBytes)}\t${oneLine(entry.value)}`
      console.out(options.json === true ? JSON.stringify(entryJson(entry)) : line)
    }
  })
}

async function watch(
  prefix: string,
  options: WatchOptions,
  context: CommandContext
): Promise<void> {
  const fromRevision = options.from === undefined ? undefined : parseCount(options.from, 1)
  const count = options.count === undefined ? undefined : parseCount(options.count, 1)
  await withMesh(options, context, async ({ kv }, { signal, console }) => {
    const { previous } = options
    const keys = options.key === true ? { key: prefix } : { prefix }
    const events = kv.watch(keys, { fromRevision, previous, signal })
    if (options.json !== true && fromRevision === undefined) {
      const started = await events.started.catch(() => undefined)
      if (started !== undefined) console.err(`Watching from revision ${started} …`)
    }
    let seen = 0
    for await (const event of events) {
      const value = event.type === 'put' ? `\t${oneLine(event.entry.value)}` : ''
      const line = `${event.revision}\t${event.type}\t${oneLine(event.keyBytes)}${value}`
      console.out(options.json === true ? JSON.stringify(eventJson(event)) : line)
      seen += 1
      if (seen === count) break
    }
  })
}

async function txn(path: string, options: CommonOptions, context: CommandContext): Promise<void> {
  const text = path === '-' ? (await readInput()).toString() : await readText(path)
  const { conditions, success, failure } = parseTxn(text)
  await withMesh(options, context, async ({ kv }, { signal, console }) => {
    const outcome = await kv.txn(conditions, success, failure, { signal })
    const { succeeded, revision } = outcome
    const results = outcome.results.map(resultJson)
    if (options.json === true) {
      console.out(JSON.stringify({ succeeded, revision, results }))
      return
    }
    const branch = succeeded ? 'All conditions hold: "then"' : 'A condition does not hold: "else"'
    console.out(`${branch} was done, at revision ${revision}`)
    for (const result of results) console.out(`  ${JSON.stringify(result)}`)
  })
}

type PartResult = KvEntry | Uint8Array | DeleteResult | ListResult | undefined

function resultJson(result: PartResult): unknown {
  if (result === undefined) return null
  if (result instanceof KvEntry) return entryJson(result)
  if (result instanceof Uint8Array) return keyJson(result)
  const next = result.next === undefined ? {} : { next: keyJson(result.next) }
  if ('count' in result) return { deleted: result.count, ...next }
  return { entries: result.entries.map(entryJson), ...next }
}

async function withMesh(
  options: CommonOptions,
  context: CommandContext,
  use: (mesh: RemoteNode, context: CommandContext) => Promise<void>
): Promise<void> {
  await using mesh = await meshOf(options, context)
  await use(mesh, context)
}

async function readInput(): Promise<Buffer> {
  return await buffer(process.stdin)
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const problem = `Cannot read ${path}: ${errorMessage(error)}`
    throw new MeshError('not-found', problem, { cause: error })
  }
}
