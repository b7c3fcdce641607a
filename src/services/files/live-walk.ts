// From the roots of files to all the blocks that they consist of. Inner nodes are read, leaves are
// known from their parents.

import { errorMessage, isMeshError, MeshError } from '../../base/errors.ts'
import type { BlockId } from '../../base/ids.ts'
import type { Blocks } from '../../blocks/blocks.ts'
import { blockIdFromBytes, blockIdToBytes, CODEC_DAG_PB } from '../../core/block/block-id.ts'
import { decode } from '../../core/machine/codec.ts'
import { nameOfEntry, nodeEntryCodec, pinCodec } from '../../core/machine/file-records.ts'
import { JOB_BLOCKS, type JobBlocksResult } from '../../core/machine/job-listings.ts'
import { SCAN } from '../../core/machine/own-queries.ts'
import type { Page } from '../../core/machine/reads.ts'
import { shown, spaceOf } from '../../core/machine/space.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { Shards } from '../../shard/shards.ts'
import { linksOf } from '../../wire/dag-pb.ts'
import { LiveSet } from './live-set.ts'

/** Inner nodes read side by side. */
const READS_AT_ONCE = 8
/** Codec's place in a binary block id. */
const CODEC_OFFSET = 1

type WalkComponents = { blocks: Blocks; shards: Shards; live: LiveSet }
type WalkOptions = { signal: AbortSignal }

/**
 * Adds all blocks of the files of a shard: of every version of every name, of what waits in the
 * trash, and of every pin, as they are at one revision. A name that is moved meanwhile is seen once.
 * After them those of jobs.
 *
 * @throws what reading throws: then the live set is incomplete, and nobody may delete by it
 */
export async function walkShard(
  shard: number,
  components: WalkComponents & { seen: Set<BlockId> },
  options: WalkOptions
): Promise<void> {
  const { shards } = components
  let revision: number | undefined
  for (const area of [AREAS.file, AREAS['file-pin']]) {
    let from: Uint8Array | undefined
    do {
      const bounds = from === undefined ? {} : { from }
      const at = revision === undefined ? {} : { revision }
      const query = { area, ...bounds, ...at }
      const page: Page = (await shards.query({ shard }, SCAN, query, options)).result
      const roots = page.entries.flatMap(({ value }) => rootsOf(area, value))
      try {
        await walk(roots, components, options)
      } catch (error) {
        throw await blamed(error, { area, page, blocks: components.blocks }, options)
      }
      revision = page.revision
      from = page.next?.slice()
    } while (from !== undefined)
  }
  await walkJobs(shard, components, options)
}

/** What jobs name: their code, inputs, results and logs. */
async function walkJobs(
  shard: number,
  components: WalkComponents & { seen: Set<BlockId> },
  options: WalkOptions
): Promise<void> {
  let after: Uint8Array | undefined
  do {
    const answer: { result: JobBlocksResult } = await components.shards.query(
      { shard },
      JOB_BLOCKS,
      { after },
      options
    )
    const { blocks, next } = answer.result
    await walk(blocks.map(blockIdFromBytes), components, options)
    after = next?.slice()
  } while (after !== undefined)
}

function rootsOf(area: number, value: Uint8Array): BlockId[] {
  if (area === AREAS['file-pin']) return [blockIdFromBytes(decode(pinCodec, value).cid)]
  const entry = decode(nodeEntryCodec, value)
  if (entry.kind === 'directory') return []
  return [entry.newest, ...entry.earlier].map(({ cid }) => blockIdFromBytes(cid))
}

/** @returns an error that names the file that can't be read, so that somebody can remove it. */
async function blamed(
  error: unknown,
  { area, page, blocks }: { area: number; page: Page; blocks: Blocks },
  options: WalkOptions
): Promise<unknown> {
  if (options.signal.aborted || !isMeshError(error)) return error
  for (const { key, value } of page.entries) {
    const unused = { live: new LiveSet({ arcCount: 1 }), seen: new Set<BlockId>() }
    try {
      await walk(rootsOf(area, value), { blocks, ...unused }, options)
    } catch (cause) {
      const volume = spaceOf(key)
      const isPin = area === AREAS['file-pin']
      const name = isPin ? shown(key) : `${shown(volume)}/…/${shown(nameOfEntry(volume, key))}`
      const problem = `${name} can't be read; bring its blocks back or remove it`
      const message = `Cannot collect: ${problem} (${errorMessage(cause)})`
      return new MeshError(error.code, message, { cause })
    }
  }
  return error
}

async function walk(
  roots: readonly BlockId[],
  { blocks, live, seen }: Omit<WalkComponents, 'shards'> & { seen: Set<BlockId> },
  options: WalkOptions
): Promise<void> {
  const inner: BlockId[] = []
  const visit = (id: BlockId): void => {
    if (blockIdToBytes(id)[CODEC_OFFSET] !== CODEC_DAG_PB) {
      live.add(id)
      return
    }
    if (seen.has(id)) return
    seen.add(id)
    live.add(id)
    inner.push(id)
  }
  for (const root of roots) visit(root)
  while (inner.length > 0) {
    options.signal.throwIfAborted()
    const batch = inner.splice(-READS_AT_ONCE)
    const read = await Promise.all(batch.map((id) => blocks.get(id, options)))
    for (const block of read) for (const id of linksOf(block)) visit(id)
  }
}
