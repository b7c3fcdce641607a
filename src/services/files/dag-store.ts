// The blockstore that the UnixFS libraries read from and write to: replicated blocks, bounded.

import { CID } from 'multiformats/cid'
import { assert } from '../../base/assert.ts'
import { MeshError } from '../../base/errors.ts'
import { blockId, type BlockId } from '../../base/ids.ts'
import { Semaphore } from '../../base/semaphore.ts'
import type { Blocks } from '../../blocks/blocks.ts'
import { blockIdToBytes } from '../../core/block/block-id.ts'

/** Blocks of one put whose copies are on their way. Each is in memory up to three times. */
const WRITES_IN_FLIGHT_MAX = 10

export type CallOptions = { signal?: AbortSignal | undefined }

/** @returns the block id of a CID. @throws invalid-argument unless it is one of sha2-256, raw or dag-pb. */
export function blockIdOf(cid: CID): BlockId {
  try {
    const id = blockId(cid.toV1().toString())
    blockIdToBytes(id)
    return id
  } catch (error) {
    throw new MeshError(
      'invalid-argument',
      `CID ${cid.toString().slice(0, 80)} is of a kind that Atoll doesn't store; it knows raw and ` +
        'dag-pb with sha2-256',
      { cause: error }
    )
  }
}

/** @throws invalid-argument */
export function parseCid(text: string): CID {
  try {
    const cid = CID.parse(text)
    blockIdOf(cid)
    return cid
  } catch (error) {
    if (error instanceof MeshError) throw error
    throw new MeshError(
      'invalid-argument',
      `"${text.slice(0, 80)}" is not a CID; it is what "atoll put" printed and begins with "baf". ` +
        'A path is VOLUME/dir/name',
      { cause: error }
    )
  }
}

/** What one put writes through; also counts. */
export class DagWriter {
  readonly #blocks: Blocks
  readonly #signal: AbortSignal
  readonly #slots = new Semaphore(WRITES_IN_FLIGHT_MAX)
  /** Blocks written, each once. */
  readonly #written = new Set<BlockId>()
  readonly #underWay = new Set<Promise<unknown>>()
  /** Copies that had to be sent or stored. */
  copiesWritten = 0

  constructor(components: { blocks: Blocks }, options: { signal: AbortSignal }) {
    this.#blocks = components.blocks
    this.#signal = options.signal
  }

  get blockCount(): number {
    return this.#written.size
  }

  /** Resolves when the block is acknowledged; its slot stays taken until all copies are settled. */
  async put(
    cid: CID,
    source: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>
  ): Promise<CID> {
    assert(source instanceof Uint8Array, 'the importer hands over whole blocks')
    const id = blockIdOf(cid)
    if (this.#written.has(id)) return cid
    const release = await this.#slots.acquire({ signal: this.#signal })
    const { acknowledged, finished } = this.#blocks.put(id, source, { signal: this.#signal })
    void finished.finally(release)
    this.#underWay.add(acknowledged)
    try {
      const { copiesWritten } = await acknowledged
      this.copiesWritten += copiesWritten
      this.#written.add(id)
      return cid
    } finally {
      this.#underWay.delete(acknowledged)
    }
  }

  /** The blocks that are acknowledged. */
  written(): BlockId[] {
    return [...this.#written]
  }

  /** Resolves when the blocks that are under way now are acknowledged, or failed. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#underWay)
  }
}

/** What a get reads through. */
export class DagReader {
  readonly #blocks: Blocks

  constructor(components: { blocks: Blocks }) {
    this.#blocks = components.blocks
  }

  async *get(cid: CID, options: CallOptions = {}): AsyncGenerator<Uint8Array> {
    yield await this.#blocks.get(blockIdOf(cid), { signal: options.signal })
  }
}
