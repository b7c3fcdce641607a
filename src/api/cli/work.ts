// atoll run, map, mapreduce: work on the mesh from a file with functions.

import type { Command } from 'commander'
import { MeshError, errorMessage } from '../../base/errors.ts'
import { bundleFile } from '../../services/compute/code/bundle-file.ts'
import type { Bundle } from '../../services/compute/compute.ts'
import { inputFiles } from '../../services/compute/input-files.ts'
import type { Job } from '../../services/compute/job.ts'
import { mapReduceBundle } from '../../services/compute/code/map-reduce-bundle.ts'
import type { TaskOptions } from '../../services/compute/task-options.ts'

import { collect, meshOf, parseCount, withCommonOptions } from './command.ts'
import type { CommandContext, CommonOptions } from './command.ts'
import { followJob, printEnd } from './job-progress.ts'

type TaskWords = {
  cpu?: string
  memory?: string
  label?: string[]
  timeout?: string
  retries?: string
  pure?: boolean
  priority?: string
}
type RunWords = CommonOptions & TaskWords & { args?: string; exec?: boolean; name?: string }
type MapWords = CommonOptions &
  TaskWords & { input: string[]; id?: string; detach?: boolean; name?: string }
type MapReduceWords = CommonOptions &
  TaskWords & {
    input: string[]
    output: string
    partitions?: string
    id?: string
    detach?: boolean
  }

const FILE_HELP = `
FILE exports functions, which get (ctx, input): ctx has signal, log, progress, files, kv, locks. It may
be TypeScript and import what it likes; all of it is bundled and travels to the node that runs it.`

export function registerWork(program: Command, context: CommandContext): void {
  const withTask = (command: Command): Command =>
    withCommonOptions(command)
      .option('--cpu <count>', 'processors for a task, also parts of one (1)')
      .option('--memory <size>', 'memory for a task (128MB)')
      .option(
        '--label <rule>',
        'KEY, KEY=VALUE or KEY!=VALUE of nodes; repeat for several',
        collect
      )
      .option('--timeout <duration>', 'for an attempt (5m)')
      .option('--retries <count>', 'when a task fails (3)')
      .option('--pure', 'may be done twice without harm')
      .option('--priority <0-9>', 'higher goes first (0)')
  withTask(program.command('run'))
    .description('run a function of a file, or a command, on some node and print what it returns')
    .argument('<file-or-command...>', 'FILE, or after --exec -- a command with its arguments')
    .option('--args <json>', 'what the function gets')
    .option('--name <export>', 'which of its functions (the default, main, or the only one)')
    .option('--exec', 'a command, on a node that was started with --allow-exec')
    .addHelpText('after', FILE_HELP)
    .action(async (words: string[], options: RunWords) => {
      await run(words, options, context)
    })
  withTask(program.command('map'))
    .description('run a function for each of many files of the mesh, as a job that goes on alone')
    .argument('<file>')
    .requiredOption(
      '--input <path>',
      'a file or directory of the mesh; repeat for several',
      collect
    )
    .option('--name <export>', 'which of its functions')
    .option('--id <id>', 'names the job; the same again finds it')
    .option('--detach', 'print its name and go')
    .option('--concurrency <count>', 'ignored: nodes take what they have room for')
    .addHelpText('after', FILE_HELP)
    .action(async (file: string, options: MapWords) => {
      await map(file, options, context)
    })
  withTask(program.command('mapreduce'))
    .description('map the lines of files and reduce what they make, into a directory of the mesh')
    .argument(
      '<file>',
      'exports map(line) → pairs, reduce(key, values), perhaps combine(key, values)'
    )
    .requiredOption(
      '--input <path>',
      'a file or directory of the mesh; repeat for several',
      collect
    )
    .requiredOption('--output <path>', 'a directory of the mesh')
    .option(
      '--partitions <count>',
      'files of the output (one for each 32 MiB of input, 8 at least)'
    )
    .option('--id <id>', 'names the job; the same again finds it')
    .option('--detach', 'print its name and go')
    .action(async (file: string, options: MapReduceWords) => {
      await mapReduce(file, options, context)
    })
}

async function run(words: string[], options: RunWords, context: CommandContext): Promise<void> {
  const { console, signal } = context
  await using mesh = await meshOf(options, context)
  const task = taskOptions(options)
  const calls = { signal, ...priorityOf(options) }
  const [file = '', ...args] = words
  if (options.exec === true) {
    const output = await told(mesh.compute.exec(file, args, { ...calls, task }), context)
    process.stdout.write(output)
    return
  }
  const input = options.args === undefined ? undefined : parseJson(options.args)
  const bundle = await bundleOf(file, options.name, task)
  const value = await told(mesh.compute.run(bundle, input, calls), context)
  if (value === undefined && options.json !== true) return
  console.out(typeof value === 'string' && options.json !== true ? value : jsonOf(value))
}

async function map(file: string, options: MapWords, context: CommandContext): Promise<void> {
  const { console, signal } = context
  await using mesh = await meshOf(options, context)
  const refs = await inputFiles(mesh.files, options.input, { signal })
  if (refs.length === 0) {
    throw new MeshError('not-found', `There are no files in ${options.input.join(', ')}`)
  }
  const bundle = await bundleOf(file, options.name, taskOptions(options))
  const job = await mesh.submit(bundle, refs, { signal, ...priorityOf(options), ...idOf(options) })
  if (await isLeft(job, options, context)) return
  for await (const { task, value } of job.results({ signal })) {
    if (options.json === true) console.out(JSON.stringify({ task, path: refs[task]?.path, value }))
    else
      console.out(
        `${refs[task]?.path ?? task}\t${typeof value === 'string' ? value : jsonOf(value)}`
      )
  }
  await printEnd(job, options, context)
}

async function mapReduce(
  file: string,
  options: MapReduceWords,
  context: CommandContext
): Promise<void> {
  const { signal } = context
  await using mesh = await meshOf(options, context)
  const task: TaskOptions = { memory: '512MB', ...taskOptions(options), pure: true }
  const program = { ...(await mapReduceBundle(file)), options: task }
  const { input, output, partitions } = options
  const job = await mesh.compute.mapReduce(program, {
    input,
    output,
    signal,
    ...priorityOf(options),
    ...idOf(options),
    ...(partitions === undefined ? {} : { partitions: parseCount(partitions, 1) })
  })
  if (await isLeft(job, options, context)) return
  await followJob(job, options, context)
  await printEnd(job, options, context)
}

/** Says how the job is called. @returns whether the command goes without waiting for it */
async function isLeft(
  job: Job,
  options: CommonOptions & { detach?: boolean },
  { console }: CommandContext
): Promise<boolean> {
  if (options.json === true) console.out(JSON.stringify({ job: job.id }))
  else console.err(`job ${job.id}`)
  await Promise.resolve()
  return options.detach === true
}

/** What a failed task printed is shown before its error. */
async function told<T>(running: Promise<T>, { console }: CommandContext): Promise<T> {
  try {
    return await running
  } catch (error) {
    const logs = error instanceof MeshError ? error.details['logs'] : undefined
    if (typeof logs === 'string' && logs !== '') console.err(logs.trimEnd())
    throw error
  }
}

/** @throws not-found, invalid-argument, not-self-contained */
async function bundleOf(
  file: string,
  name: string | undefined,
  options: TaskOptions
): Promise<Bundle> {
  const { source, exports } = await bundleFile(file)
  const found =
    name ??
    ['default', 'main'].find((one) => exports.includes(one)) ??
    (exports.length === 1 ? exports[0] : undefined)
  if (found !== undefined && exports.includes(found)) return { source, exportName: found, options }
  const has = exports.length === 0 ? 'no functions' : exports.join(', ')
  throw new MeshError('invalid-argument', `${file} exports ${has}; say which one with --name`)
}

function taskOptions(words: TaskWords): TaskOptions {
  const { cpu, memory, label, timeout, retries, pure } = words
  return {
    ...(cpu === undefined ? {} : { cpu: Number(cpu) }),
    ...(memory === undefined ? {} : { memory }),
    ...(label === undefined ? {} : { labels: label }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(retries === undefined ? {} : { retries: parseCount(retries, 0) }),
    ...(pure === undefined ? {} : { pure })
  }
}

function priorityOf({ priority }: TaskWords): { priority?: number } {
  return priority === undefined ? {} : { priority: parseCount(priority, 0) }
}

function idOf({ id }: { id?: string }): { id?: string } {
  return id === undefined ? {} : { id }
}

/** @throws invalid-argument */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new MeshError('invalid-argument', `--args is no JSON: ${errorMessage(error)}`)
  }
}

/** What JSON doesn't have is shown as text. */
function jsonOf(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'bigint' ? inner.toString() : inner instanceof Map ? [...inner] : inner
  )
  return text ?? 'null'
}
