// atoll put, get, stat: files by CID.

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
import { Progress } from './output.ts'

export function registerFiles(program: Command, context: CommandContext): void {
  withCommonOptions(program.command('put'))
    .description('store a file in the mesh and print its CID')
    .argument('<file>', 'path of a file, or - for standard input')
    .action(async (path: string, options: CommonOptions) => {
      await put(path, options, context)
    })
  withCommonOptions(program.command('get'))
    .description('read a file from the mesh')
    .argument('<cid>', 'what "atoll put" printed')
    .option('-o, --output <file>', 'write to this file instead of standard output')
    .option('--range <first-last>', 'only these bytes, both included, such as 0-99')
    .action(async (cid: string, options: CommonOptions & { output?: string; range?: string }) => {
      await get(cid, options, context)
    })
  withCommonOptions(program.command('stat'))
    .description('show what a CID is')
    .argument('<cid>')
    .action(async (cid: string, options: CommonOptions) => {
      const client = await clientOf(options)
      const result = await client.json<FileStat>(`stat/${encodeURIComponent(cid)}`, {
        signal: context.signal
      })
      if (options.json === true) context.console.out(JSON.stringify(result))
      else
        context.console.out(
          `${result.type}, ${formatBytes(result.bytes)} (${result.bytes} bytes), ${result.cid}`
        )
    })
}

async function put(path: string, options: CommonOptions, context: CommandContext): Promise<void> {
  const { console, signal } = context
  const client = await clientOf(options)
  const size = path === '-' ? undefined : await sizeOf(path)
  const progress = new Progress(console, {
    label: path === '-' ? 'put' : `put ${path}`,
    total: size
  })
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    let sent = 0
    const source = path === '-' ? process.stdin : readUnchangedFile(path)
    for await (const part of source) {
      sent += (part as Uint8Array).length
      progress.update(sent)
      yield part as Uint8Array
    }
  }
  try {
    const body = Readable.from(counted(), { objectMode: false, highWaterMark: MIB })
    const result = await client.json<PutResult>('files', {
      method: 'POST',
      body,
      bodyBytes: size,
      signal
    })
    progress.end()
    const { cid, bytes, blocks } = result
    console.out(
      options.json === true
        ? JSON.stringify({ cid, bytes, blocks, copiesWritten: result.copiesWritten })
        : cid
    )
    if (options.json !== true && console.isTerminal) {
      console.err(
        `${formatBytes(bytes)} in ${blocks} blocks. Read it on any node: atoll get ${cid}`
      )
    }
  } finally {
    progress.end()
  }
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

async function get(
  cid: string,
  options: CommonOptions & { output?: string; range?: string },
  context: CommandContext
): Promise<void> {
  const { console, signal } = context
  const client = await clientOf(options)
  const query = new URLSearchParams()
  if (options.range !== undefined) {
    const { offset, length } = parseRange(options.range)
    query.set('offset', String(offset))
    if (length !== undefined) query.set('length', String(length))
  }
  const response = await client.stream(`files/${encodeURIComponent(cid)}?${query.toString()}`, {
    signal
  })
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
    console.out(JSON.stringify({ cid, bytes: total, output: options.output }))
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
