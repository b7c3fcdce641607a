// What all commands share: where the data is, how to reach the node, when to stop.

import type { Command } from 'commander'
import { MeshError } from '../../base/errors.ts'
import { defaultDataDir } from '../../node/options.ts'
import { connectToNode, type ApiClient } from '../http-client.ts'
import { connect, type RemoteNode } from '../remote/connect.ts'
import type { Console } from './output.ts'

/** What a command is given besides its own arguments. */
export type CommandContext = {
  console: Console
  /** Aborted by the first Ctrl-C. */
  signal: AbortSignal
  /** Tells the exit code of a command that worked but found something wrong. */
  setExitCode: (code: number) => void
}

export type CommonOptions = { data?: string; json?: boolean }

/** Adds the options that every command takes. */
export function withCommonOptions(command: Command): Command {
  return command
    .option('--data <dir>', 'data folder of the node ($ATOLL_DATA, else ~/.atoll)')
    .option('--json', 'print JSON')
}

export function dataDirOf(options: CommonOptions): string {
  return options.data ?? defaultDataDir(process.env)
}

export async function clientOf(options: CommonOptions): Promise<ApiClient> {
  return await connectToNode(dataDirOf(options))
}

/** @returns the services of the mesh, to be closed by the caller. */
export async function meshOf(
  options: CommonOptions,
  { signal }: CommandContext
): Promise<RemoteNode> {
  return await connect({ dataDir: dataDirOf(options), signal })
}

/** @throws invalid-argument unless `text` is a whole number from `min` */
export function parseCount(text: string, min: number): number {
  const count = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(count) && count >= min) return count
  throw new MeshError('invalid-argument', `"${text}" is not a whole number from ${min}`)
}

/** Collects an option that may be given several times. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value]
}

/** @throws invalid-argument unless `text` is KEY=VALUE */
export function parseLabel(text: string): [string, string] {
  const index = text.indexOf('=')
  if (index < 1)
    throw new MeshError('invalid-argument', `"${text}" is not a label; write KEY=VALUE`)
  return [text.slice(0, index), text.slice(index + 1)]
}

/**
 * @param text `A-B` (both bytes included, as in HTTP), `A-` or `-N` is not taken.
 * @throws invalid-range
 */
export function parseRange(text: string): { offset: number; length: number | undefined } {
  const match = /^(\d+)-(\d*)$/.exec(text)
  const offset = Number(match?.[1])
  const last = match?.[2] === '' ? undefined : Number(match?.[2])
  const good =
    match !== null &&
    Number.isSafeInteger(offset) &&
    (last === undefined || (Number.isSafeInteger(last) && last >= offset))
  if (!good) {
    throw new MeshError(
      'invalid-range',
      `"${text}" is not a range; write FIRST-LAST, such as 0-99, or FIRST-`
    )
  }
  return { offset, length: last === undefined ? undefined : last - offset + 1 }
}
