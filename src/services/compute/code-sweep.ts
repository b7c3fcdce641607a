// Removes code that nobody needs any more. A generation of the shelf is the newest one for a while;
// when the one after it has been there for as long, no run can need what is only in the older one,
// for each began with code that was in the newest one at most a day before. Jobs may be kept for
// longer: what they name is moved to the newest generation first.

import { assert } from '../../base/assert.ts'
import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { isMeshError } from '../../base/errors.ts'
import { DAY_MS } from '../../base/units.ts'
import { LIST, type ListResult } from '../../core/machine/file-queries.ts'
import { JOB_LIST } from '../../core/machine/job-listings.ts'
import { parseJobSpace } from '../../core/machine/job-names.ts'
import { JOB_GET } from '../../core/machine/job-queries.ts'
import { JOB_PAGE_MAX, RANGE_COUNT_MAX } from '../../core/machine/limits.ts'
import { TIMEOUT_MS_MAX } from '../../executor/executor.ts'
import type { Shards } from '../../shard/shards.ts'
import type { CodeRef } from '../../wire/job.ts'
import type { Files } from '../files/files.ts'
import { CODE_KNOWN_MS, CODE_VOLUME, generationOf, generationPath } from './code-shelf.ts'
import { decodeSpec } from './spec.ts'

/** Between two generations. */
export const CODE_GENERATION_MS: number = 30 * DAY_MS
assert(CODE_GENERATION_MS > TIMEOUT_MS_MAX + CODE_KNOWN_MS, 'a run keeps its code')

const CODE_SPACE: Uint8Array = utf8(CODE_VOLUME)

export type CodeSweepComponents = {
  readonly shards: Shards
  readonly files: Pick<Files, 'mkdir' | 'mv' | 'rm'>
}
type Calls = { readonly signal: AbortSignal }

/** @returns the shard that has the shelf: whoever leads it sweeps */
export function shardOfCode(shards: Pick<Shards, 'shardOf'>): number {
  return shards.shardOf(CODE_SPACE)
}

/**
 * Begins a new generation and ends old ones, when it is time; writes nothing otherwise. Two that do it
 * at once do no harm.
 *
 * @param timeMs the time of the shard that has the shelf
 */
export async function sweepCode(
  components: CodeSweepComponents,
  timeMs: number,
  calls: Calls
): Promise<void> {
  const { files } = components
  const generations = await generationsOf(components)
  const newest = generations.at(-1)
  if (newest === undefined) return
  const isOld = (at: { readonly createdMs: number }): boolean =>
    timeMs - at.createdMs >= CODE_GENERATION_MS
  if (isOld(newest) && !(await isEmpty(components, newest.number))) {
    await files.mkdir(generationPath(newest.number + 1), calls)
  }
  for (const [place, { number }] of generations.entries()) {
    const next = generations[place + 1]
    if (next === undefined || !isOld(next)) break
    await saveForJobs(components, { from: number, to: newest.number }, calls)
    await files.rm(generationPath(number), { ...calls, recursive: true })
  }
}

/** In order, as a replica here has them: none is ever made younger. */
async function generationsOf({
  shards
}: CodeSweepComponents): Promise<{ number: number; createdMs: number }[]> {
  return (await entriesOf(shards, []))
    .flatMap(({ name, entry }) => {
      const number = generationOf(fromUtf8(name))
      if (number === undefined || entry.kind === 'file') return []
      return [{ number, createdMs: entry.createdMs }]
    })
    .toSorted((a, b) => a.number - b.number)
}

async function isEmpty({ shards }: CodeSweepComponents, generation: number): Promise<boolean> {
  return (await entriesOf(shards, [utf8(String(generation))])).length === 0
}

async function entriesOf(
  shards: Shards,
  names: readonly Uint8Array[]
): Promise<ListResult['entries']> {
  const from = { inode: undefined, after: undefined }
  const args = { volume: CODE_SPACE, names, ...from, limit: RANGE_COUNT_MAX }
  try {
    return (await shards.query({ space: CODE_SPACE }, LIST, args, { isStale: true })).result.entries
  } catch (error) {
    if (isMeshError(error, 'not-found')) return []
    throw error
  }
}

/** Moves what jobs name, also those that have ended: they may be tried again. */
async function saveForJobs(
  { shards, files }: CodeSweepComponents,
  { from, to }: { from: number; to: number },
  calls: Calls
): Promise<void> {
  for (const cid of await codeOfJobs(shards, calls)) {
    try {
      await files.mv(`${generationPath(from)}/${cid}`, `${generationPath(to)}/${cid}`, calls)
    } catch (error) {
      // It is in another generation.
      if (!isMeshError(error, 'not-found') && !isMeshError(error, 'exists')) throw error
    }
  }
}

/** @throws what a shard that can't be asked throws: without it nothing may go */
async function codeOfJobs(shards: Shards, calls: Calls): Promise<Set<string>> {
  const cids = new Set<string>()
  for (let shard = 0; shard < shards.count; shard++) {
    let after: Uint8Array | undefined
    do {
      const args = { after, limit: JOB_PAGE_MAX }
      const { jobs, next } = (await shards.query({ shard }, JOB_LIST, args, calls)).result
      for (const { space } of jobs) {
        // All parts have the same.
        if (parseJobSpace(space)?.part !== 0) continue
        for (const code of await codeOf(shards, space.slice(), calls)) {
          if (code.kind !== 'exec') cids.add(code.cid)
        }
      }
      after = next?.slice()
    } while (after !== undefined)
  }
  return cids
}

async function codeOf(shards: Shards, space: Uint8Array, calls: Calls): Promise<CodeRef[]> {
  try {
    const { job } = (await shards.query({ space }, JOB_GET, { space }, calls)).result
    const { code, stages = [] } = decodeSpec(job.spec)
    return [code, ...stages.flatMap(({ run }) => (run === undefined ? [] : [run.code]))]
  } catch (error) {
    // It was removed meanwhile.
    if (isMeshError(error, 'not-found')) return []
    throw error
  }
}
