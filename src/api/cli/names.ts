// atoll mkdir, ls, mv, rm: names of files.

import type { Command } from 'commander'
import { formatBytes } from '../../base/units.ts'
import type { DirectoryItem } from '../../services/files/files.ts'
import { clientOf, withCommonOptions, type CommandContext, type CommonOptions } from './command.ts'

export const PATHS_HELP = `
A path is VOLUME/dir/name. A volume is made by the first thing that is put into it; what is in one volume
moves at once, whatever its size.`

export function registerNames(program: Command, context: CommandContext): void {
  const add = (name: string, description: string): Command =>
    withCommonOptions(program.command(name))
      .description(description)
      .addHelpText('after', PATHS_HELP)
  add('mkdir', 'make a directory, and what is missing on the way to it')
    .argument('<path>')
    .action(async (path: string, options: CommonOptions) => {
      await order('mkdir', { name: path }, { options, context })
    })
  add('ls', 'list a directory, or the volumes')
    .argument('[path]')
    .option('--all', 'also volumes whose names begin with a dot, such as the code of tasks')
    .action(async (path: string | undefined, options: CommonOptions & { all?: boolean }) => {
      await list(path, options, context)
    })
  add('mv', 'give a file or directory another name in its volume')
    .argument('<from>')
    .argument('<to>', 'the new path, with the name')
    .option('--replace', 'put it in the place of what is there')
    .action(async (from: string, to: string, options: CommonOptions & { replace?: boolean }) => {
      const replace = String(options.replace === true)
      await order('mv', { from, to, replace }, { options, context })
    })
  add('rm', 'remove a file, an empty directory, or a file without a name by its CID')
    .argument('<path>', 'or a CID')
    .option('-r, --recursive', 'also a directory with all that is in it')
    .action(async (path: string, options: CommonOptions & { recursive?: boolean }) => {
      const recursive = String(options.recursive === true)
      await order('rm', { name: path, recursive }, { options, context })
    })
}

/** Has the node do something, of which there is nothing to tell. */
async function order(
  command: string,
  query: Record<string, string>,
  { options, context }: { options: CommonOptions; context: CommandContext }
): Promise<void> {
  const client = await clientOf(options)
  const path = `${command}?${new URLSearchParams(query).toString()}`
  await client.json(path, { method: 'POST', signal: context.signal })
  if (options.json === true) context.console.out(JSON.stringify(query))
}

async function list(
  path: string | undefined,
  options: CommonOptions & { all?: boolean },
  { console, signal }: CommandContext
): Promise<void> {
  const client = await clientOf(options)
  const query = path === undefined ? '' : `?${new URLSearchParams({ name: path }).toString()}`
  const items: DirectoryItem[] = []
  for await (const item of client.lines<DirectoryItem>(`ls${query}`, { signal })) {
    // As shells do: what begins with a dot is there for programs.
    if (path === undefined && options.all !== true && item.name.startsWith('.')) continue
    if (options.json === true) items.push(item)
    else console.out(lineOf(item))
  }
  if (options.json === true) console.out(JSON.stringify(items))
}

/** Names last: they may have any length, and spaces. */
function lineOf({ name, type, bytes, cid }: DirectoryItem): string {
  // No name makes a terminal do anything.
  const shown = name.replaceAll(/\p{Cc}/gu, '�')
  if (type === 'directory') return `${''.padStart(10)}  ${shown}/`
  return `${formatBytes(bytes).padStart(10)}  ${shown}  ${cid ?? ''}`.trimEnd()
}
