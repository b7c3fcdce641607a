// Tasks of a job in the order in which they end.

import type { CallOptions } from '../../shard/shards.ts'
import type { JobPart, KnownTask, SeenPart } from './job-part.ts'

/** Mostly all tasks have ended by themselves before anything else has to be watched. */
const OVER_AFTER_MS = 100

/** Tasks of a part as they end, some of them again; over when the part is. */
export async function* ends(
  part: JobPart,
  options: CallOptions
): AsyncGenerator<{ first: number; known: KnownTask }> {
  // Of what was submitted just now nothing is there yet that could be looked at.
  const { submitted } = part
  const { first, count, revision, isOpen } = submitted ?? (await lookAt(part, options))
  let left = count
  const over = new AbortController()
  const signals = options.signal === undefined ? [] : [options.signal]
  const signal = AbortSignal.any([over.signal, ...signals])
  const isEnd = ({ record: { state: now } }: KnownTask): boolean => now !== 'waiting'
  const counted = new Set<number>()
  try {
    if (submitted === undefined) {
      for await (const known of part.tasks(options)) {
        if (!isEnd(known)) continue
        counted.add(known.task)
        left -= 1
        yield { first, known }
      }
    }
    if (!isOpen || left === 0) return
    // Ends that have no record: by cancelling, or because a stage before has failed.
    const phase = overAt(part, revision, over)
    try {
      for await (const tasks of part.taskChanges(revision, signal)) {
        for (const known of tasks) {
          if (!isEnd(known)) continue
          yield { first, known }
          if (!counted.has(known.task)) left -= 1
          counted.add(known.task)
        }
        if (left === 0) return
      }
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!over.signal.aborted) throw error
    }
    await phase
    // What ended with the job's end itself.
    for await (const known of part.tasks(options)) {
      if (isEnd(known) && !counted.has(known.task)) yield { first, known }
    }
  } finally {
    over.abort()
  }
}

async function lookAt(part: JobPart, options: CallOptions): Promise<SeenPart> {
  const { record, state, revision } = await part.demand(options)
  const { first, count } = record
  return { first, count, revision, isOpen: state.phase === 'open' }
}

/** Aborts when the part is over. */
async function overAt(part: JobPart, revision: number, over: AbortController): Promise<void> {
  // Whoever aborted it is told by the signal; a part that can't be followed fails the reader too.
  await part.over(revision, over.signal, OVER_AFTER_MS).then(
    () => over.abort(),
    () => {}
  )
}

/** All of several at once, each item as soon as it is there. */
export async function* merged<T>(sources: readonly AsyncGenerator<T>[]): AsyncGenerator<T> {
  const pending = new Map(sources.map((source) => [source, nextOf(source)] as const))
  try {
    while (pending.size > 0) {
      const { source, item } = await Promise.race(pending.values())
      if (item.done === true) {
        pending.delete(source)
        continue
      }
      pending.set(source, nextOf(source))
      yield item.value
    }
  } finally {
    await Promise.allSettled([...pending.keys()].map((source) => source.return(undefined)))
  }
}

async function nextOf<T>(
  source: AsyncGenerator<T>
): Promise<{ source: AsyncGenerator<T>; item: IteratorResult<T> }> {
  return { source, item: await source.next() }
}
