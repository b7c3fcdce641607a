// Following a job: a line that goes on a terminal, a line of JSON for each change in a pipe.

import { formatDuration } from '../../base/units.ts'
import type { Job, JobProgress } from '../../services/compute/job.ts'
import type { CommandContext, CommonOptions } from './command.ts'

const REDRAW_MS = 100
/** Lines of JSON come no more often. */
const TELL_MS = 1_000

/** Waits for the end of a job and shows how far it is. */
export async function followJob(
  job: Job,
  options: CommonOptions,
  { console, signal }: CommandContext
): Promise<JobProgress> {
  const startedMs = performance.now()
  let first: JobProgress | undefined
  let shownMs = -Infinity
  const show = (progress: JobProgress): void => {
    first ??= progress
    const nowMs = performance.now()
    if (options.json === true) {
      if (nowMs - shownMs < TELL_MS) return
      const { total, done, failed, running, waiting } = progress
      console.out(JSON.stringify({ job: job.id, total, done, failed, running, waiting }))
    } else if (console.isTerminal) {
      if (nowMs - shownMs < REDRAW_MS) return
      console.rewrite(lineOf(progress, { elapsedMs: nowMs - startedMs, before: first }))
    }
    shownMs = nowMs
  }
  const last = await job.wait({ signal, onProgress: show })
  if (options.json !== true && console.isTerminal) console.rewrite('')
  return last
}

/** Says how a job ended; the exit code is 1 unless all of it was done. */
export async function printEnd(
  job: Job,
  options: CommonOptions,
  { console, signal, setExitCode }: CommandContext
): Promise<void> {
  const { state, total, done, failed } = await job.wait({ signal })
  if (options.json === true) console.out(JSON.stringify({ job: job.id, state, done, failed }))
  else if (failed > 0) {
    console.err(`${done} of ${total} tasks done, ${failed} given up; see: atoll job dead ${job.id}`)
  } else
    console.err(state === 'ended' ? `${done} tasks done` : `${state}: ${done} of ${total} done`)
  if (state !== 'ended' || failed > 0) setExitCode(1)
}

function lineOf(
  { total, done, failed, running, waiting }: JobProgress,
  { elapsedMs, before }: { elapsedMs: number; before: JobProgress }
): string {
  const ended = done + failed
  const rate = ((ended - before.done - before.failed) / Math.max(1, elapsedMs)) * 1_000
  const left = rate > 0 ? `, ${formatDuration(((total - ended) / rate) * 1_000)} left` : ''
  const parts = [
    `${done} of ${total} done`,
    ...(running > 0 ? [`${running} running`] : []),
    ...(waiting > 0 ? [`${waiting} to be tried again`] : []),
    ...(failed > 0 ? [`${failed} given up`] : [])
  ]
  return `${parts.join(', ')} (${rate.toFixed(rate < 10 ? 1 : 0)}/s${left})`
}
