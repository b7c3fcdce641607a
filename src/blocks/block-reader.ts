// Reading a block: from here, from the nearest owner, from the others, from whoever may have it.

import type { Clock } from '../base/clock.ts'
import { errorMessage, isMeshError, MeshError } from '../base/errors.ts'
import type { BlockId, PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { arcOf } from '../core/block/block-id.ts'
import { ownersOf } from '../core/ring/layout.ts'
import type { MeshView } from '../mesh/view.ts'
import type { BlockStore } from '../storage/block-store.ts'
import type { BlockClient } from './block-client.ts'
import { readOrReport } from './block-server.ts'

export type BlockReaderComponents = {
  store: BlockStore
  client: BlockClient
  mesh: MeshView
  clock: Clock
  log: Logger
  onDamaged: (id: BlockId) => void
  /** A read found peers that should hold the block and don't, and has its bytes. */
  onLacking: (id: BlockId, bytes: Uint8Array, lacking: readonly PeerId[]) => void
}

/** A peer that hasn't answered by then gets company: the next one is asked too. */
const HEDGE_MS = 1_000

export class BlockReader {
  readonly #components: BlockReaderComponents

  constructor(components: BlockReaderComponents) {
    this.#components = components
  }

  /**
   * @returns the block's bytes, verified.
   * @throws not-found when every member answered and none has it; no-quorum when some that may
   *   have it didn't answer; `signal.reason`
   */
  async read(id: BlockId, options: { signal?: AbortSignal | undefined } = {}): Promise<Uint8Array> {
    const { store } = this.#components
    if (store.has(id)) {
      try {
        return await readOrReport(this.#components, id)
      } catch (error) {
        this.#components.log.warn('blocks.local_read_failed', { id, reason: errorMessage(error) })
      }
    }
    return await this.fetch(id, options)
  }

  /** Reads from other peers only; see {@link read}. */
  async fetch(
    id: BlockId,
    options: { signal?: AbortSignal | undefined } = {}
  ): Promise<Uint8Array> {
    const { mesh } = this.#components
    const candidates = this.#candidates(id)
    const view = mesh.layout()
    const owners = ownersOf(view.layout, arcOf(id, view.layout.arcCount))
    const failures: { peer: PeerId; error: unknown }[] = []
    const done = new AbortController()
    const signal =
      options.signal === undefined ? done.signal : AbortSignal.any([done.signal, options.signal])
    try {
      const bytes = await this.#race(candidates, failures, async (peer) => {
        return await this.#components.client.get(peer, id, { signal })
      })
      const lacking = failures
        .filter(({ peer, error }) => owners.includes(peer) && isMeshError(error, 'not-found'))
        .map(({ peer }) => peer)
      if (owners.includes(mesh.self)) lacking.push(mesh.self)
      if (lacking.length > 0) this.#components.onLacking(id, bytes, lacking)
      for (const { peer, error } of failures)
        if (isMeshError(error, 'corrupt')) this.#report(peer, id)
      return bytes
    } catch (error) {
      options.signal?.throwIfAborted()
      if (error !== EXHAUSTED) throw error
      throw unreadable(id, failures)
    } finally {
      done.abort(new MeshError('aborted', 'Another peer was faster'))
    }
  }

  /** Whom to ask, best first: owners by latency, earlier owners, the rest; the silent ones last. */
  #candidates(id: BlockId): PeerId[] {
    const { mesh, client } = this.#components
    const ranks = new Map<PeerId, number>()
    const note = (peers: readonly PeerId[], rank: number): void => {
      for (const peer of peers) if (peer !== mesh.self && !ranks.has(peer)) ranks.set(peer, rank)
    }
    const views = [mesh.layout(), ...mesh.earlierLayouts()]
    views.forEach((view, age) => {
      note(ownersOf(view.layout, arcOf(id, view.layout.arcCount)), Math.min(age, 1))
    })
    note(mesh.others(), 2)
    const cost = (peer: PeerId, rank: number): number =>
      rank * 1e6 + (mesh.isReachable(peer) ? 0 : 1e9) + Math.min(client.latencyMs(peer), 1e5)
    return [...ranks]
      .toSorted(([a, rankA], [b, rankB]) => cost(a, rankA) - cost(b, rankB))
      .map(([peer]) => peer)
  }

  /** Asks one after another, the next when one failed or is slow. @throws EXHAUSTED */
  async #race(
    candidates: readonly PeerId[],
    failures: { peer: PeerId; error: unknown }[],
    ask: (peer: PeerId) => Promise<Uint8Array>
  ): Promise<Uint8Array> {
    const { clock } = this.#components
    return await new Promise<Uint8Array>((resolve, reject) => {
      let next = 0
      let running = 0
      let settled = false
      const startNext = (): void => {
        const peer = candidates[next]
        if (settled) return
        if (peer === undefined) {
          if (running === 0) reject(EXHAUSTED)
          return
        }
        next += 1
        running += 1
        const hedge = clock.after(HEDGE_MS, startNext)
        ask(peer).then(
          (bytes) => {
            hedge.cancel()
            settled = true
            resolve(bytes)
          },
          (error: unknown) => {
            hedge.cancel()
            running -= 1
            failures.push({ peer, error })
            startNext()
          }
        )
      }
      startNext()
    })
  }

  #report(peer: PeerId, id: BlockId): void {
    const { client, log } = this.#components
    log.warn('blocks.wrong_bytes', { peer, id })
    client.inspect(peer, id).catch((error: unknown) => {
      log.debug('blocks.inspect_failed', { peer, id, reason: errorMessage(error) })
    })
  }
}

const EXHAUSTED = new MeshError('not-found', 'Every candidate was asked')

function unreadable(id: BlockId, failures: readonly { peer: PeerId; error: unknown }[]): MeshError {
  const silent = failures.filter(
    ({ error }) => !isMeshError(error, 'not-found') && !isMeshError(error, 'corrupt')
  )
  if (silent.length === 0) {
    return new MeshError('not-found', `No member of the mesh has block ${id}`)
  }
  const names = silent.map(({ peer, error }) => `${peer}: ${errorMessage(error)}`).join('; ')
  return new MeshError(
    'no-quorum',
    `Cannot read block ${id}: ${silent.length} of ${failures.length} members that may hold it did ` +
      `not answer (${names}); try again when they are back`
  )
}
