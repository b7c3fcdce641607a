// Which blocks are here, by arc of the ring, and what they take of this node's capacity.

import { assert } from '../base/assert.ts'
import { MeshError, isMeshError } from '../base/errors.ts'
import { compareText, type BlockId } from '../base/ids.ts'
import { formatBytes } from '../base/units.ts'
import { arcOf } from '../core/block/block-id.ts'
import type { BlockUsage } from './block-store.ts'

export type BlockIndexOptions = { capacityBytes: number; arcCount: number }

/**
 * The index in memory of a block store. One map per arc and nothing beside it: about 80 bytes for
 * the id's text and 28 to 56 for its entry. That a block's arc is computed on each call, which
 * takes about a microsecond, saves a second map of all ids.
 */
export class BlockIndex {
  readonly #sizes = new Map<number, Map<BlockId, number>>()
  readonly #options: BlockIndexOptions
  #count = 0
  #bytes = 0
  /** Bytes on their way in or out: they take room on the disk but aren't indexed. */
  #heldBytes = 0

  constructor(options: BlockIndexOptions) {
    assert(Number.isSafeInteger(options.capacityBytes), 'a capacity is a whole number of bytes')
    assert(options.capacityBytes >= 0, 'a capacity is not negative')
    assert(Number.isSafeInteger(options.arcCount), 'a ring has a whole number of arcs')
    assert(options.arcCount > 0, 'a ring has arcs')
    this.#options = options
  }

  has(id: BlockId): boolean {
    return this.sizeOf(id) !== undefined
  }

  /** @returns bytes, or `undefined` for a block that isn't indexed. */
  sizeOf(id: BlockId): number | undefined {
    const arc = this.#arcOf(id)
    return arc === undefined ? undefined : this.#sizes.get(arc)?.get(id)
  }

  /** Ids in one arc, sorted; none for a number that is no arc. */
  list(arc: number): BlockId[] {
    return [...(this.#sizes.get(arc)?.keys() ?? [])].toSorted(compareText)
  }

  /** Arcs that hold at least one block, ascending. */
  arcs(): number[] {
    return [...this.#sizes.keys()].toSorted((a, b) => a - b)
  }

  /** Without the bytes that are held. */
  usage(): BlockUsage {
    return {
      count: this.#count,
      bytes: this.#bytes,
      capacityBytes: this.#options.capacityBytes
    }
  }

  /**
   * Adds a block that isn't indexed.
   * @throws invalid-argument for an id without a place on the ring.
   */
  add(id: BlockId, size: number): void {
    assert(Number.isSafeInteger(size), 'a block has a whole number of bytes')
    assert(size >= 0, 'the size of a block is not negative')
    const arc = arcOf(id, this.#options.arcCount)
    const sizes = this.#sizes.get(arc) ?? new Map<BlockId, number>()
    assert(!sizes.has(id), 'a block is indexed once')
    sizes.set(id, size)
    this.#sizes.set(arc, sizes)
    this.#count += 1
    this.#bytes += size
  }

  /** @returns the size of the block that was removed, or `undefined` when it wasn't indexed. */
  remove(id: BlockId): number | undefined {
    const arc = this.#arcOf(id)
    if (arc === undefined) return undefined
    const sizes = this.#sizes.get(arc)
    const size = sizes?.get(id)
    if (sizes === undefined || size === undefined) return undefined
    sizes.delete(id)
    if (sizes.size === 0) this.#sizes.delete(arc)
    this.#count -= 1
    this.#bytes -= size
    return size
  }

  /**
   * Holds room for a block about to be written, so that puts at the same time can't exceed the
   * capacity together. Give it back with {@link release}.
   * @throws disk-full
   */
  reserve(bytes: number): void {
    const { capacityBytes } = this.#options
    const free = capacityBytes - this.#bytes - this.#heldBytes
    if (bytes > free) {
      throw new MeshError(
        'disk-full',
        `Cannot store ${formatBytes(bytes)}: ${formatBytes(Math.max(free, 0))} of this node's ` +
          `${formatBytes(capacityBytes)} are free; raise its capacity or remove something`
      )
    }
    this.#heldBytes += bytes
  }

  /** Counts bytes that left the index but not the disk yet. Give them back with {@link release}. */
  hold(bytes: number): void {
    this.#heldBytes += bytes
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes
    assert(this.#heldBytes >= 0, 'only what was held is released')
  }

  /** @returns `undefined` for an id no block can have; nothing is ever indexed under one. */
  #arcOf(id: BlockId): number | undefined {
    try {
      return arcOf(id, this.#options.arcCount)
    } catch (error) {
      if (isMeshError(error, 'invalid-argument')) return undefined
      throw error
    }
  }
}
