// Fetches the state of a group from a peer that offers it, chunk by chunk: protocols/shard, rules S-9
// to S-11. On a stream of its own, and slowly enough that heartbeats aren't held up.

import { sleep } from '../base/clock.ts'
import type { Clock } from '../base/clock.ts'
import { errorMessage, MeshError, toMeshError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { Semaphore } from '../base/semaphore.ts'
import { GIB, MIB, SECOND_MS } from '../base/units.ts'
import { compareBytes } from '../core/machine/ordered-state.ts'
import type { Network } from '../net/network.ts'
import type { StateInstall } from '../storage/state-store.ts'
import { SNAPSHOT_PROTOCOL, decodeChunk, encodeChunkRequest } from '../wire/shard-snapshot.ts'
import type { Chunk } from '../wire/shard-snapshot.ts'

const BYTES_PER_SECOND: number = 64 * MIB
const CHUNK_TIMEOUT_MS = 10_000
const PULLS_MAX = 4
/** A transfer that gets nothing for so long is given up. */
const STALL_MS = 20_000
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 2_000
/** A state may be so large: many times what the quota of a shard allows. */
const BYTES_MAX: number = 64 * GIB
/** A chunk that came so often and was wrong each time fails the transfer. */
const BAD_CHUNKS_MAX = 2

/** What may be otherwise in a moment: the connection, or what the peer has to do. */
const PASSING: readonly ErrorCode[] = ['unreachable', 'timeout', 'overloaded', 'not-admitted']

export type SnapshotPullerComponents = {
  readonly network: Pick<Network, 'request'>
  readonly clock: Clock
  readonly log: Logger
}

export type SnapshotPullerOptions = {
  /** Of all transfers together, on average; 64 MiB unless given. */
  readonly bytesPerSecond?: number
  /** For one chunk to come; 10 s unless given. */
  readonly chunkTimeoutMs?: number
  /** Transfers at once; the next one waits. 4 unless given. */
  readonly pullsMax?: number
}

export type SnapshotPull = {
  readonly peer: PeerId
  readonly group: number
  readonly generation: number
  /** Of the handle that came with the snapshot. */
  readonly snapshotId: string
  /** Takes the pairs. It stays the caller's: to finish, or to abort when the transfer fails. */
  readonly install: StateInstall
  readonly signal: AbortSignal
}

export type PulledSnapshot = { readonly pairCount: number; readonly bytes: number }

/** Where a transfer is. */
type Progress = {
  afterKey: Uint8Array
  pairCount: number
  bytes: number
  /** When the last good chunk came. */
  movedMs: number
  badChunks: number
  failures: number
}

export class SnapshotPuller {
  readonly #components: SnapshotPullerComponents
  readonly #bytesPerSecond: number
  readonly #chunkTimeoutMs: number
  readonly #permits: Semaphore
  /** When what has come until now is paid for, at the rate that is allowed. */
  #paidMs = 0

  constructor(components: SnapshotPullerComponents, options: SnapshotPullerOptions = {}) {
    this.#components = components
    this.#bytesPerSecond = options.bytesPerSecond ?? BYTES_PER_SECOND
    this.#chunkTimeoutMs = options.chunkTimeoutMs ?? CHUNK_TIMEOUT_MS
    this.#permits = new Semaphore(options.pullsMax ?? PULLS_MAX)
  }

  /**
   * Writes all pairs of a snapshot into `install`. A broken connection is waited out, and the
   * transfer goes on behind the last key that came.
   *
   * @throws not-found when the peer doesn't offer it any more; corrupt when a chunk was wrong
   *   twice, or the peer's state is damaged; unreachable when nothing came for 20 s; too-large;
   *   what `install` throws; `signal.reason`
   */
  async pull(pull: SnapshotPull): Promise<PulledSnapshot> {
    const { signal } = pull
    return await this.#permits.run(async () => await this.#pull(pull), { signal })
  }

  async #pull(pull: SnapshotPull): Promise<PulledSnapshot> {
    const { clock } = this.#components
    const progress: Progress = {
      afterKey: new Uint8Array(0),
      pairCount: 0,
      bytes: 0,
      movedMs: clock.monotonicMs(),
      badChunks: 0,
      failures: 0
    }
    for (;;) {
      const chunk = await this.#next(pull, progress)
      if (chunk === undefined) continue
      if (chunk.pairs.length > 0) await pull.install.write(chunk.pairs)
      pull.signal.throwIfAborted()
      progress.movedMs = clock.monotonicMs()
      progress.pairCount += chunk.pairs.length
      progress.afterKey = chunk.pairs.at(-1)?.key.slice() ?? progress.afterKey
      if (chunk.isLast) return { pairCount: progress.pairCount, bytes: progress.bytes }
      if (progress.bytes > BYTES_MAX) {
        throw failed(pull, 'too-large', `it has more than ${BYTES_MAX} bytes`)
      }
    }
  }

  /** @returns the next chunk; undefined when it is to be asked for again. @throws as `pull` */
  async #next(pull: SnapshotPull, progress: Progress): Promise<Chunk | undefined> {
    const { peer, group, generation, snapshotId, signal } = pull
    await this.#pace(signal)
    const { afterKey } = progress
    const request = encodeChunkRequest({ group, generation, snapshotId, afterKey })
    let body: Uint8Array
    try {
      const options = { timeoutMs: this.#chunkTimeoutMs, signal }
      body = await this.#components.network.request(peer, SNAPSHOT_PROTOCOL, request, options)
    } catch (error) {
      signal.throwIfAborted()
      await this.#onFailure(pull, progress, toMeshError(error))
      return undefined
    }
    progress.failures = 0
    progress.bytes += body.length
    this.#pay(body.length)
    try {
      const chunk = decodeChunk(body)
      checkOrder(chunk, afterKey)
      progress.badChunks = 0
      return chunk
    } catch (error) {
      this.#onBadChunk(pull, progress, toMeshError(error))
      return undefined
    }
  }

  async #onFailure(pull: SnapshotPull, progress: Progress, error: MeshError): Promise<void> {
    const { clock, log } = this.#components
    if (error.code === 'not-found') {
      const problem = `${pull.peer} does not offer it any more; the leader sends another one`
      throw failed(pull, 'not-found', problem, error)
    }
    if (!PASSING.includes(error.code)) throw failed(pull, error.code, errorMessage(error), error)
    const silentMs = clock.monotonicMs() - progress.movedMs
    if (silentMs >= STALL_MS) {
      throw failed(pull, 'unreachable', `${pull.peer} sent nothing for ${silentMs} ms`, error)
    }
    const pauseMs = Math.min(RETRY_MS_MIN * 2 ** Math.min(progress.failures, 10), RETRY_MS_MAX)
    progress.failures += 1
    const { peer, group } = pull
    log.debug('snapshot.retry', { peer, group, pauseMs, reason: errorMessage(error) })
    await sleep(clock, pauseMs, { signal: pull.signal })
  }

  #onBadChunk(pull: SnapshotPull, progress: Progress, error: MeshError): void {
    const { peer, group } = pull
    progress.badChunks += 1
    this.#components.log.warn('snapshot.bad_chunk', { peer, group, reason: errorMessage(error) })
    if (progress.badChunks >= BAD_CHUNKS_MAX) {
      const problem = `${peer} sent a part of it wrong ${BAD_CHUNKS_MAX} times`
      throw failed(pull, 'corrupt', problem, error)
    }
  }

  /** Waits until what has come is within the rate; a rest of time isn't saved up. */
  async #pace(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { clock } = this.#components
    const waitMs = this.#paidMs - clock.monotonicMs()
    if (waitMs > 0) await sleep(clock, waitMs, { signal })
  }

  #pay(bytes: number): void {
    const fromMs = Math.max(this.#paidMs, this.#components.clock.monotonicMs())
    this.#paidMs = fromMs + (bytes / this.#bytesPerSecond) * SECOND_MS
  }
}

function checkOrder({ pairs }: Chunk, afterKey: Uint8Array): void {
  let last = afterKey
  for (const { key } of pairs) {
    if (compareBytes(last, key) >= 0) {
      throw new MeshError('invalid-data', 'Malformed snapshot chunk: its keys are out of order')
    }
    last = key
  }
}

function failed(pull: SnapshotPull, code: ErrorCode, problem: string, cause?: unknown): MeshError {
  const what = `Cannot fetch the snapshot of group ${pull.group}`
  return new MeshError(code, `${what}: ${problem}`, { cause })
}
