// atoll lock: runs a command while it holds a lock.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { constants, hostname } from 'node:os'
import type { Command } from 'commander'
import { MeshError, errorMessage, isMeshError } from '../../base/errors.ts'
import { SECOND_MS, parseDuration } from '../../base/units.ts'
import { systemClock } from '../../node/system-clock.ts'
import type { Lock } from '../../services/locks/locks.ts'
import type { RemoteNode } from '../remote/connect.ts'
import { meshOf, withCommonOptions } from './command.ts'
import type { CommandContext, CommonOptions } from './command.ts'

/** A command that was told to end may take so long. */
const END_MS: number = 5 * SECOND_MS

type LockOptions = CommonOptions & {
  ttl: string
  wait?: string
  try?: boolean
  owner?: string
}

const HELP = `
Example:
  atoll lock jobs/backup -- rsync -a /data backup:/data

The command has ATOLL_LOCK_NAME and ATOLL_LOCK_TOKEN in its environment. The token grows with every
holder: give it to what the lock guards, and let that refuse a token below one that it has seen. The
exit code is the command's. When the lock is lost the command gets SIGTERM, and the exit code is 1.`

export function registerLock(program: Command, context: CommandContext): void {
  withCommonOptions(program.command('lock'))
    .description('run a command while no other holds the lock, anywhere in the mesh')
    .argument('<name>', 'SPACE/PATH; a name without a slash means locks/NAME')
    .argument('<command...>', 'after --, so that its own options are left alone')
    .option('--ttl <duration>', 'how long the lock outlives this process', '10s')
    .option('--wait <duration>', 'give up when it is not free by then; waits on unless given')
    .option('--try', 'do not wait at all')
    .option('--owner <text>', 'what others are told who wait (host name and process id)')
    .addHelpText('after', HELP)
    .action(async (name: string, command: string[], options: LockOptions) => {
      await lockAndRun({ name, command }, options, context)
    })
}

type Wanted = { name: string; command: readonly string[] }

async function lockAndRun(
  wanted: Wanted,
  options: LockOptions,
  context: CommandContext
): Promise<void> {
  await using mesh = await meshOf(options, context)
  const lock = await take(mesh, wanted.name, { options, context })
  let code: number
  try {
    code = await run(wanted, lock, context.signal)
  } catch (error) {
    await release(lock, context)
    throw error
  }
  await release(lock, context)
  // The command may have ended well, and yet not have been alone.
  if (lock.lost.aborted) throw lostError(lock)
  context.signal.throwIfAborted()
  const { name, token } = lock
  if (options.json === true) context.console.out(JSON.stringify({ name, token, code }))
  context.setExitCode(code)
}

async function take(
  { locks }: RemoteNode,
  name: string,
  { options, context }: { options: LockOptions; context: CommandContext }
): Promise<Lock> {
  const { signal, console } = context
  const ttlMs = parseDuration(options.ttl)
  const owner = options.owner ?? `${hostname()}, process ${process.pid}`
  const timeoutMs = options.wait === undefined ? undefined : parseDuration(options.wait)
  const lock = await locks.tryAcquire(name, { ttlMs, owner, signal })
  if (lock !== undefined) return lock
  const holder = await locks.holder(name, { signal })
  const held = holder === undefined ? 'held' : `held by ${holder.owner}`
  if (options.try === true) {
    throw new MeshError('timeout', `Cannot take lock "${name}": it is ${held}`)
  }
  if (options.json !== true) console.err(`Waiting for lock "${name}", ${held} …`)
  return await locks.acquire(name, { ttlMs, owner, timeoutMs, signal })
}

/** @returns the command's exit code, as a shell tells it @throws not-found when it can't be run */
async function run({ command }: Wanted, lock: Lock, signal: AbortSignal): Promise<number> {
  const [program = '', ...words] = command
  const env = {
    ...process.env,
    ATOLL_LOCK_NAME: lock.name,
    ATOLL_LOCK_TOKEN: String(lock.token)
  }
  const child = spawn(program, words, { stdio: 'inherit', env })
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', (error) => {
      const problem = `Cannot run ${program}: ${errorMessage(error)}`
      reject(new MeshError('not-found', problem, { cause: error }))
    })
    child.once('exit', (code, name) => {
      resolve(code ?? 128 + (name === null ? 0 : constants.signals[name]))
    })
  })
  const end = endOnce(child)
  const either = AbortSignal.any([lock.lost, signal])
  either.addEventListener('abort', end.start)
  if (either.aborted) end.start()
  try {
    return await ended
  } finally {
    either.removeEventListener('abort', end.start)
    end.done()
  }
}

/** SIGTERM, and SIGKILL when that doesn't help. */
function endOnce(child: ChildProcess): { start: () => void; done: () => void } {
  let timer: { cancel(): void } | undefined
  return {
    start: () => {
      child.kill('SIGTERM')
      timer ??= systemClock.after(END_MS, () => void child.kill('SIGKILL'))
    },
    done: () => timer?.cancel()
  }
}

/** The command is done; that nobody was reached is told, and mends itself. */
async function release(lock: Lock, { console }: CommandContext): Promise<void> {
  try {
    await lock.release()
  } catch (error) {
    if (isMeshError(error, 'not-found')) return
    console.err(`atoll: the lock gets free only after its time: ${errorMessage(error)}`)
  }
}

function lostError({ name, lost }: Lock): MeshError {
  const problem = `Lost lock "${name}" while the command ran: ${errorMessage(lost.reason)}`
  return new MeshError('timeout', `${problem}; another may have it`)
}
