// The blocks that files consist of, all of them: made in one cycle of the collection, and handed out
// by arcs. Of each block 16 bytes are kept, so a TiB of files takes about 16 MiB.

import { hash } from 'node:crypto'
import { MeshError } from '../../base/errors.ts'
import type { BlockId } from '../../base/ids.ts'
import { shortDigestBytes } from '../../blocks/sweeper.ts'
import { arcOf } from '../../core/block/block-id.ts'
import { compareBytes } from '../../core/machine/ordered-state.ts'
import { LIVE_DIGEST_BYTES, LIVE_PAGE_COUNT_MAX, type LivePage } from '../../wire/collect.ts'

/** References, at most: 4 TiB of files, and 64 MiB of memory. */
const LIVE_COUNT_MAX = 4_194_304
const FIRST_COUNT = 8

type Bucket = { bytes: Uint8Array; count: number; isSorted: boolean }

export class LiveSet {
  readonly #arcCount: number
  readonly #buckets = new Map<number, Bucket>()
  #count = 0

  constructor(options: { arcCount: number }) {
    this.#arcCount = options.arcCount
  }

  /** References so far; a block that several files have is counted for each. */
  get count(): number {
    return this.#count
  }

  /** @throws too-large */
  add(id: BlockId): void {
    if (this.#count >= LIVE_COUNT_MAX) {
      const problem = `there are more than ${LIVE_COUNT_MAX} references to blocks`
      throw new MeshError('too-large', `Cannot collect: ${problem}`)
    }
    const arc = arcOf(id, this.#arcCount)
    const bucket = this.#buckets.get(arc) ?? {
      bytes: new Uint8Array(FIRST_COUNT * LIVE_DIGEST_BYTES),
      count: 0,
      isSorted: false
    }
    this.#buckets.set(arc, bucket)
    const at = bucket.count * LIVE_DIGEST_BYTES
    if (at === bucket.bytes.length) {
      const larger = new Uint8Array(2 * at)
      larger.set(bucket.bytes)
      bucket.bytes = larger
    }
    bucket.bytes.set(shortDigestBytes(id), at)
    bucket.count += 1
    bucket.isSorted = false
    this.#count += 1
  }

  /**
   * @returns the live blocks of `fromArc` and of as many arcs after it as fit.
   * @throws too-large when not even one arc does
   */
  pageOf(fromArc: number): LivePage {
    const parts: Uint8Array[] = []
    let count = 0
    let toArc = fromArc
    for (; toArc < this.#arcCount; toArc++) {
      const bucket = this.#buckets.get(toArc)
      if (bucket === undefined) continue
      sort(bucket)
      if (count + bucket.count > LIVE_PAGE_COUNT_MAX) break
      count += bucket.count
      parts.push(bucket.bytes.subarray(0, bucket.count * LIVE_DIGEST_BYTES))
    }
    if (toArc === fromArc && toArc < this.#arcCount) {
      throw new MeshError('too-large', `Arc ${fromArc} has too many blocks for a page`)
    }
    const digests = Buffer.concat(parts)
    return { toArc, digests, hash: hash('sha256', digests, 'buffer') }
  }
}

/** Sorts and leaves out what is there twice. */
function sort(bucket: Bucket): void {
  if (bucket.isSorted) return
  const { bytes, count } = bucket
  const digests = Array.from({ length: count }, (_, index) =>
    bytes.subarray(index * LIVE_DIGEST_BYTES, (index + 1) * LIVE_DIGEST_BYTES)
  ).toSorted(compareBytes)
  const different = digests.filter((digest, index) => {
    const before = digests[index - 1]
    return before === undefined || compareBytes(before, digest) !== 0
  })
  bucket.bytes = Buffer.concat(different)
  bucket.count = different.length
  bucket.isSorted = true
}
