// atoll jobs, atoll job …: what the mesh works on.

import type { Command } from 'commander'
import { MeshError } from '../../base/errors.ts'
import type { Explanation } from '../../services/compute/explain.ts'
import type { RemoteNode } from '../remote/connect.ts'
import { clientOf, meshOf, parseCount, withCommonOptions } from './command.ts'
import type { CommandContext, CommonOptions } from './command.ts'
import { followJob, printEnd } from './job-progress.ts'
import { table } from './output.ts'

type Work = (mesh: RemoteNode, id: string, rest: string[]) => Promise<void>
type Adding = {
  add: (name: string, description: string) => Command
  /** @returns the action of a command, with a connection to the mesh */
  on: (work: (options: CommonOptions) => Work) => (id: string, ...rest: unknown[]) => Promise<void>
}

export function registerJobs(program: Command, context: CommandContext): void {
  withCommonOptions(program.command('jobs'))
    .description('list the jobs of the mesh')
    .action(async (options: CommonOptions) => {
      await list(options, context)
    })
  const job = program.command('job').description('look at a job, wait for it, end it')
  const add = (name: string, description: string): Command =>
    withCommonOptions(job.command(name)).description(description).argument('<id>')
  const on =
    (work: (options: CommonOptions) => Work) =>
    async (id: string, ...rest: unknown[]): Promise<void> => {
      const options = rest.at(-2) as CommonOptions
      await using mesh = await meshOf(options, context)
      const words = rest.slice(0, -2).filter((word) => typeof word === 'string')
      await work(options)(mesh, id, words)
    }
  const { console, signal } = context
  add('show', 'how far it is').action(
    on((options) => async (mesh, id) => {
      const progress = await mesh.job(id).progress({ signal })
      if (options.json === true) console.out(JSON.stringify({ job: id, ...progress }))
      else for (const [name, value] of Object.entries(progress)) console.out(`${name}\t${value}`)
    })
  )
  add('wait', 'wait for its end; exit code 1 unless all of it was done').action(
    on((options) => async (mesh, id) => {
      await followJob(mesh.job(id), options, context)
      await printEnd(mesh.job(id), options, context)
    })
  )
  registerOutcomes({ add, on }, context)
  add('cancel', 'end it now').action(
    on((options) => async (mesh, id) => {
      await mesh.job(id).cancel({ signal })
      if (options.json === true) console.out(JSON.stringify({ job: id, state: 'cancelled' }))
    })
  )
  add('retry', 'try again what was given up').action(
    on((options) => async (mesh, id) => {
      const count = await mesh.job(id).retry({ signal })
      console.out(options.json === true ? JSON.stringify({ job: id, count }) : `${count} tasks`)
    })
  )
  add('rm', 'forget an ended job and its results').action(
    on(() => async (mesh, id) => {
      await mesh.job(id).remove({ signal })
    })
  )
  add('explain', "why its tasks aren't running, node by node").action(
    async (id: string, options: CommonOptions) => {
      await explain(id, options, context)
    }
  )
}

/** What came of its tasks. */
function registerOutcomes({ add, on }: Adding, { console, signal }: CommandContext): void {
  add('results', 'print what its tasks returned, a line of JSON each').action(
    on(() => async (mesh, id) => {
      for await (const { task, value } of mesh.job(id).results({ signal })) {
        console.out(JSON.stringify({ task, value }))
      }
    })
  )
  add('logs', 'print what a task printed')
    .argument('<task>', 'its number')
    .action(
      on(() => async (mesh, id, [task = '']) => {
        const text = await mesh.job(id).logs(parseCount(task, 0), { signal })
        if (text !== '') console.out(text.trimEnd())
      })
    )
  add('dead', 'print tasks that were given up, and why').action(
    on((options) => async (mesh, id) => {
      for await (const letter of mesh.job(id).deadLetters({ signal })) {
        const { task, code, message } = letter
        console.out(options.json === true ? JSON.stringify(letter) : `${task}\t${code}\t${message}`)
      }
    })
  )
}

async function list(options: CommonOptions, context: CommandContext): Promise<void> {
  const { console, signal } = context
  await using mesh = await meshOf(options, context)
  const jobs = await mesh.jobs({ signal })
  if (options.json === true) {
    for (const { id, ...info } of jobs) console.out(JSON.stringify({ job: id, ...info }))
    return
  }
  const rows = jobs.map(({ id, state, total, done, failed, running, submitter }) => {
    return [id, state, `${done}/${total}`, String(running), String(failed), submitter]
  })
  const head = ['JOB', 'STATE', 'DONE', 'RUNNING', 'GIVEN UP', 'SUBMITTER']
  for (const line of table([head, ...rows])) console.out(line)
}

async function explain(id: string, options: CommonOptions, context: CommandContext): Promise<void> {
  const { console, signal } = context
  if (id === '') throw new MeshError('invalid-argument', 'A job has a name')
  const client = await clientOf(options)
  const found = await client.json<Explanation>(`explain/${encodeURIComponent(id)}`, { signal })
  if (options.json === true) {
    console.out(JSON.stringify({ job: id, reasons: found.reasons, peers: found.peers }))
    return
  }
  for (const { code, text } of found.reasons) console.out(`${code}: ${text}`)
  for (const { peer, running, reasons } of found.peers) {
    const why = reasons.map(({ text }) => text).join('; ')
    const state = running > 0 ? `runs ${running} of its tasks` : 'runs none of its tasks'
    console.out(`${peer.slice(-8)}  ${why === '' ? `${state}, has room` : `${state}: ${why}`}`)
  }
}
