// The `atoll` command.

import { Command, CommanderError } from 'commander'
import { errorMessage, isMeshError, MeshError } from '../../base/errors.ts'
import { AGENT } from '../../node/node.ts'
import type { CommandContext } from './command.ts'
import { registerDemo } from './demo.ts'
import { registerFiles } from './files.ts'
import { registerJobs } from './jobs.ts'
import { registerKv } from './kv.ts'
import { registerLock } from './lock.ts'
import { registerMembers } from './members.ts'
import { registerNames } from './names.ts'
import { processConsole } from './output.ts'
import { registerShards } from './shards.ts'
import { registerTopology } from './topology.ts'
import { registerUp } from './up.ts'
import { registerWork } from './work.ts'

/** Exit codes as shells know them. */
const EXIT_FAILED = 1
const EXIT_USAGE = 2
const EXIT_INTERRUPTED = 130

/**
 * Runs one command.
 *
 * @param words the command line without the program's name.
 * @returns the exit code: 0 only when all of it worked.
 */
export async function main(words: readonly string[]): Promise<number> {
  const interrupted = new AbortController()
  const stop = (): void => {
    // The second Ctrl-C is a person who doesn't want to wait.
    if (interrupted.signal.aborted) process.exit(EXIT_INTERRUPTED)
    interrupted.abort(new MeshError('aborted', 'Interrupted'))
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  let exitCode = 0
  const context: CommandContext = {
    console: processConsole,
    signal: interrupted.signal,
    setExitCode: (code) => {
      exitCode = code
    }
  }
  try {
    await build(context).parseAsync([...words], { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return explainUsage(error)
    if (interrupted.signal.aborted && isMeshError(error, 'aborted')) return EXIT_INTERRUPTED
    processConsole.err(`atoll: ${errorMessage(error).replaceAll('\n', ' ')}`)
    return EXIT_FAILED
  } finally {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
}

/** @returns the exit code */
function explainUsage(error: CommanderError): number {
  if (error.exitCode === 0) return 0
  if (error.code !== 'commander.help') {
    const why = error.message.replace(/^error: /, '').replaceAll('\n', ' ')
    processConsole.err(`atoll: ${why}; see: atoll --help`)
  }
  return EXIT_USAGE
}

function build(context: CommandContext): Command {
  const program = new Command('atoll')
    .description('A few machines as one: files, keys and locks on a mesh with no master.')
    .version(AGENT.replace('atoll/', ''))
    .exitOverride()
    .configureOutput({ outputError: () => {} }) // explainUsage does it, in one line.
    .configureHelp({ sortSubcommands: false })
    .addHelpText(
      'after',
      '\nTwo machines:\n  atoll up                      on the first; it prints the line for the others\n' +
        '  atoll join /ip4/…/tcp/…       on every other\n  atoll put FILE DIR/NAME; atoll get DIR/NAME on any'
    )
  registerUp(program, context)
  registerFiles(program, context)
  registerNames(program, context)
  registerKv(program, context)
  registerLock(program, context)
  registerMembers(program, context)
  registerWork(program, context)
  registerJobs(program, context)
  registerTopology(program, context)
  registerShards(program, context)
  registerDemo(program, context)
  for (const command of program.commands) command.exitOverride()
  return program
}
