// atoll put, get, stat: files by path or CID.

import { createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { errorMessage, MeshError } from '../../base/errors.ts'
import { formatBytes, MIB } from '../../base/units.ts'
import { readUnchangedFile } from '../../node/file-source.ts'
import type { FileStat, PutResult } from '../../services/files/files.ts'
import {
  clientOf,
  parseRange,
  withCommonOptions,
  type CommandContext,
  type CommonOptions
} from './command.ts'
import { PATHS_HELP } from './names.ts'
import { Progress } from './output.ts'

type PutOptions = CommonOptions & { replace?: boolean; append?: boolean }
type GetOptions = CommonOptions & { output?: string; range?: string; at?: string }

export function registerFiles(program: Command, context: CommandContext): void {
  withCommonOptions(program.command('put'))
    .description('store a file in the mesh and print its CID')
    .argument('<file>', 'path of a file, or - for standard input')
    .argument('[path]', 'the name that it gets in the mesh, VOLUME/dir/name')
    .option('--replace', 'put it in the place of a file that is there')
    .option('--append', 'keep what is there as an earlier version')
    .addHelpText('after', PATHS_HELP)
    .action(async (file: string, path: string | undefined, options: PutOptions) => {
      await put({ file, path }, options, context)
    })
  withCommonOptions(program.command('get'))
    .description('read a file from the mesh')
    .argument('<path>', 'VOLUME/dir/name, or what "atoll put" printed')
    .option('-o, --output <file>', 'write to this file instead of standard output')
    .option('--range <first-last>', 'only these bytes, both included, such as 0-99')
    .option('--at <version>', 'an earlier version, as "atoll stat" shows them')
    .action(async (name: string, options: GetOptions) => {
      await get(name, options, context)
    })
  withCommonOptions(program.command('stat'))
    .description('show what a path or CID is')
    .argument('<path>', 'or a CID')
    .action(async (name: string, options: CommonOptions) => {
      const client = await clientOf(options)
      const query = new URLSearchParams({ name }).toString()
      const result = await client.json<FileStat>(`stat?${query}`, { signal: context.signal })
      if (options.json === true) context.console.out(JSON.stringify(result))
      else for (const line of linesOf(result)) context.console.out(line)
    })
}

function linesOf({ type, bytes, cid, version, versions = [] }: FileStat): string[] {
  if (type === 'directory') return ['directory']
  const named = version === undefined ? '' : `, version ${version}`
  const lines = [`${type}, ${formatBytes(bytes)} (${bytes} bytes), ${cid}${named}`]
  for (const earlier of versions.slice(1)) {
    lines.push(`  version ${earlier.version}: ${formatBytes(earlier.bytes)}, ${earlier.cid}`)
  }
  return lines
}

async function put(
  { file, path }: { file: string; path: string | undefined },
  options: PutOptions,
  context: CommandContext
): Promise<void> {
  const { console, signal } = context
  if (path === undefined && (options.replace === true || options.append === true)) {
    const problem = 'only a file with a name replaces or appends: atoll put FILE VOLUME/dir/name'
    throw new MeshError('invalid-argument', `Cannot put ${file}: ${problem}`)
  }
  const client = await clientOf(options)
  const total = file === '-' ? undefined : await sizeOf(file)
  const label = file === '-' ? 'put' : `put ${file}`
  const progress = new Progress(console, { label, total })
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    let sent = 0
    const source = file === '-' ? process.stdin : readUnchangedFile(file)
    for await (const part of source) {
      sent += (part as Uint8Array).length
      progress.update(sent)
      yield part as Uint8Array
    }
  }
  const query = new URLSearchParams()
  if (path !== undefined) query.set('name', path)
  if (options.replace === true) query.set('replace', 'true')
  if (options.append === true) query.set('append', 'true')
  try {
    const body = Readable.from(counted(), { objectMode: false, highWaterMark: MIB })
    // No length goes first: the node must not take the file for whole before its end was looked at.
    const target = `files?${query.toString()}`
    const result = await client.json<PutResult>(target, { method: 'POST', body, signal })
    progress.end()
    const { cid, bytes, blocks } = result
    console.out(options.json === true ? JSON.stringify(withPath(result, path)) : cid)
    if (options.json !== true && console.isTerminal) {
      const name = path ?? cid
      console.err(
        `${formatBytes(bytes)} in ${blocks} blocks. Read it on any node: atoll get ${name}`
      )
    }
  } finally {
    progress.end()
  }
}

function withPath(result: PutResult, path: string | undefined): object {
  const { cid, bytes, blocks, copiesWritten, version } = result
  return { cid, bytes, blocks, copiesWritten, ...(path === undefined ? {} : { path, version }) }
}

async function sizeOf(path: string): Promise<number> {
  try {
    const found = await stat(path)
    if (!found.isFile())
      throw new MeshError('invalid-argument', `Cannot put ${path}: it is not a file`)
    return found.size
  } catch (error) {
    if (error instanceof MeshError) throw error
    throw new MeshError('not-found', `Cannot read ${path}: ${errorMessage(error)}`, {
      cause: error
    })
  }
}

async function get(name: string, options: GetOptions, context: CommandContext): Promise<void> {
  const { console, signal } = context
  const client = await clientOf(options)
  const query = new URLSearchParams({ name })
  if (options.at !== undefined) query.set('version', options.at)
  if (options.range !== undefined) {
    const { offset, length } = parseRange(options.range)
    query.set('offset', String(offset))
    if (length !== undefined) query.set('length', String(length))
  }
  const response = await client.stream(`files?${query.toString()}`, { signal })
  const total = Number(response.headers['content-length'])
  const progress = new Progress(console, { label: 'get', total })
  const counted = async function* (parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let received = 0
    for await (const part of parts) {
      received += part.length
      progress.update(received)
      yield part
    }
    if (received !== total) {
      throw new MeshError('unreachable', `Only ${received} of ${total} bytes came; try again`)
    }
  }
  try {
    if (options.output === undefined)
      await pipeline(response, counted, process.stdout, { end: false })
    else
      await saveAs(options.output, async (path) => {
        await pipeline(response, counted, createWriteStream(path))
      })
  } catch (error) {
    if (error instanceof MeshError) throw error
    throw new MeshError('unreachable', `The node broke off: ${errorMessage(error)}; try again`, {
      cause: error
    })
  } finally {
    progress.end()
  }
  if (options.json === true && options.output !== undefined) {
    const isPath = name.includes('/')
    console.out(
      JSON.stringify({ [isPath ? 'path' : 'cid']: name, bytes: total, output: options.output })
    )
  }
}

/** Nobody finds half a file under the name: it takes its name when it is whole. */
async function saveAs(path: string, write: (path: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.part-${process.pid}`
  try {
    await write(temporary)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}
