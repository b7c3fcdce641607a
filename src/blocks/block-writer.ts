// Writing a block: to every owner, acknowledged when a majority of them has it on disk.

import { MeshError, errorMessage } from '../base/errors.ts'
import type { BlockId, PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { arcOf } from '../core/block/block-id.ts'
import { ownersOf } from '../core/ring/layout.ts'
import type { MeshView } from '../mesh/view.ts'
import type { BlockStore } from '../storage/block-store.ts'
import type { BlockClient } from './block-client.ts'
import type { Touches } from './touches.ts'

export type BlockWriterComponents = {
  store: BlockStore
  client: BlockClient
  mesh: MeshView
  touches: Touches
  log: Logger
  /** Some owner lacks this block: somebody has to see to it later. */
  onIncomplete: (id: BlockId) => void
}

export type WriteResult = {
  /** Copies that this write had to send or store; 0 when all were there. */
  copiesWritten: number
}

type Attempt = { owner: PeerId; written: boolean } | { owner: PeerId; error: unknown }

/** How many owners must have a block before it is acknowledged. */
function majorityOf(ownerCount: number): number {
  return Math.floor(ownerCount / 2) + 1
}

export class BlockWriter {
  readonly #components: BlockWriterComponents

  constructor(components: BlockWriterComponents) {
    this.#components = components
  }

  /**
   * Stores a block. `acknowledged` settles when a majority of the owners has it on disk, or can't;
   * `finished` when every owner was tried and the copies of those that are away are kept by others
   * for them. `finished` never rejects: its failures are what the mover takes care of.
   *
   * @throws (acknowledged) no-quorum, disk-full, storage-failed, or `signal.reason`
   */
  write(
    id: BlockId,
    bytes: Uint8Array,
    options: { signal?: AbortSignal | undefined } = {}
  ): { acknowledged: Promise<WriteResult>; finished: Promise<void> } {
    const { mesh } = this.#components
    const view = mesh.layout()
    const owners = ownersOf(view.layout, arcOf(id, view.layout.arcCount))
    if (owners.length === 0) {
      const error = new MeshError('no-quorum', 'No member of the mesh has capacity to store blocks')
      return { acknowledged: Promise.reject(error), finished: Promise.resolve() }
    }
    const attempts = owners.map((owner) => this.#attempt(owner, id, bytes, options))
    return {
      acknowledged: this.#majority(id, attempts, options),
      finished: this.#finish(id, bytes, owners, Promise.all(attempts))
    }
  }

  /**
   * Notes blocks that were written as touched again, at all owners that answer.
   *
   * @returns those that no majority of the owners has.
   */
  async touch(ids: readonly BlockId[]): Promise<BlockId[]> {
    const { mesh, store, client, touches, log } = this.#components
    const { layout } = mesh.layout()
    const ownersOfId = new Map(ids.map((id) => [id, ownersOf(layout, arcOf(id, layout.arcCount))]))
    const idsOfOwner = new Map<PeerId, BlockId[]>()
    for (const [id, owners] of ownersOfId) {
      for (const owner of owners) {
        const asked = idsOfOwner.get(owner) ?? []
        idsOfOwner.set(owner, asked)
        asked.push(id)
      }
    }
    const copies = new Map<BlockId, number>()
    await Promise.all(
      [...idsOfOwner].map(async ([owner, asked]) => {
        try {
          if (owner === mesh.self) for (const id of asked) touches.touch(id)
          const held =
            owner === mesh.self
              ? asked.filter((id) => store.has(id))
              : (await client.have(owner, asked)).held
          for (const id of held) copies.set(id, (copies.get(id) ?? 0) + 1)
        } catch (error) {
          log.debug('blocks.touch_failed', { peer: owner, reason: errorMessage(error) })
        }
      })
    )
    return ids.filter((id) => (copies.get(id) ?? 0) < majorityOf(ownersOfId.get(id)?.length ?? 0))
  }

  async #attempt(
    owner: PeerId,
    id: BlockId,
    bytes: Uint8Array,
    options: { signal?: AbortSignal | undefined }
  ): Promise<Attempt> {
    const { mesh, store, client, touches } = this.#components
    try {
      options.signal?.throwIfAborted()
      if (owner === mesh.self) {
        touches.touch(id)
        if (store.has(id)) return { owner, written: false }
        await store.put(id, bytes)
        return { owner, written: true }
      }
      // What is there already isn't sent again: a put that was cut off goes on where it was.
      if ((await client.have(owner, [id])).held.has(id)) return { owner, written: false }
      await client.put(owner, id, bytes, options)
      return { owner, written: true }
    } catch (error) {
      return { owner, error }
    }
  }

  async #majority(
    id: BlockId,
    attempts: readonly Promise<Attempt>[],
    options: { signal?: AbortSignal | undefined }
  ): Promise<WriteResult> {
    const needed = majorityOf(attempts.length)
    return await new Promise<WriteResult>((resolve, reject) => {
      let acknowledged = 0
      let copiesWritten = 0
      const failures: { owner: PeerId; error: unknown }[] = []
      const onAttempt = (attempt: Attempt): void => {
        if ('error' in attempt) failures.push(attempt)
        else {
          acknowledged += 1
          if (attempt.written) copiesWritten += 1
        }
        if (acknowledged >= needed) resolve({ copiesWritten })
        else if (failures.length > attempts.length - needed) {
          reject(
            options.signal?.aborted === true
              ? (options.signal.reason as Error)
              : noQuorum(id, needed, failures)
          )
        }
      }
      for (const attempt of attempts) void attempt.then(onAttempt)
    })
  }

  /** Keeps a copy for each owner that is away with a peer that is here. Never rejects. */
  async #finish(
    id: BlockId,
    bytes: Uint8Array,
    owners: readonly PeerId[],
    all: Promise<Attempt[]>
  ): Promise<void> {
    const { mesh, client, log } = this.#components
    const attempts = await all
    const failed = attempts.filter((attempt) => 'error' in attempt)
    if (failed.length === 0) return
    this.#components.onIncomplete(id)
    if (failed.length === attempts.length) return
    const keepers = mesh.others().filter((peer) => !owners.includes(peer) && mesh.isReachable(peer))
    for (const { owner } of failed) {
      try {
        const keeper = keepers.shift()
        if (keeper !== undefined) await client.put(keeper, id, bytes, { hintFor: owner })
        else await this.#keepHere(id, bytes)
      } catch (error) {
        log.warn('blocks.hint_failed', { for: owner, reason: errorMessage(error) })
      }
    }
  }

  /** With nobody else to keep a copy this node does, so that somebody knows who lacks one. */
  async #keepHere(id: BlockId, bytes: Uint8Array): Promise<void> {
    this.#components.touches.touch(id)
    if (this.#components.store.has(id)) return
    await this.#components.store.put(id, bytes)
    this.#components.onIncomplete(id)
  }
}

function noQuorum(
  id: BlockId,
  needed: number,
  failures: readonly { owner: PeerId; error: unknown }[]
): MeshError {
  const full = failures.every(
    ({ error }) => error instanceof MeshError && error.code === 'disk-full'
  )
  const reasons = failures.map(({ owner, error }) => `${owner}: ${errorMessage(error)}`).join('; ')
  return new MeshError(
    full ? 'disk-full' : 'no-quorum',
    `Cannot store block ${id}: ${needed} of its owners must take it (${reasons})`,
    { cause: failures[0]?.error }
  )
}
