// What an instance has done, for people: told to the mesh once a second.

import type { Kv } from '../kv/kv.ts'
import { SECOND_MS } from '../../base/units.ts'
import { figuresKey, parsed } from './keys.ts'

export type Counters = {
  /** Tuples that came in; of a spout, values that it yielded. */
  readonly in: number
  /** Tuples that it emitted. */
  readonly out: number
  /** Values of a spout of which all is processed; tuples that a bolt has processed. */
  readonly acked: number
  /** Tuples whose function threw. */
  readonly failed: number
  /** Values that a spout emitted again, and those that it gave up. */
  readonly replayed: number
  readonly givenUp: number
}

export type InstanceFigures = Counters & {
  /** Values of a spout that are under way. */
  readonly pending: number
  /** Batches that wait to be sent, or to be taken. */
  readonly queue: number
  /** Tuples that came in, a second. */
  readonly rate: number
  readonly peer: string
  readonly attempt: number
  /** Of a wall clock. */
  readonly atMs: number
}

/** As an instance knows them itself. */
export type FiguresNow = Counters & Pick<InstanceFigures, 'pending' | 'queue'>
const NONE: Counters = { in: 0, out: 0, acked: 0, failed: 0, replayed: 0, givenUp: 0 }

export class FigureTeller {
  readonly #components: {
    readonly kv: Kv
    readonly signal: AbortSignal
    readonly read: () => FiguresNow
  }
  readonly #about: { readonly peer: string; readonly attempt: number }
  readonly #key: string
  /** Of the attempts before. */
  #before: Counters = NONE
  #last = { in: 0, atMs: performance.now() }
  #rate = 0
  #timer: NodeJS.Timeout | undefined

  constructor(
    components: { kv: Kv; signal: AbortSignal; read: () => FiguresNow },
    about: { topology: string; index: number; peer: string; attempt: number }
  ) {
    this.#components = components
    this.#about = { peer: about.peer, attempt: about.attempt }
    this.#key = figuresKey(about.topology, about.index)
  }

  async start(): Promise<void> {
    const { kv, signal } = this.#components
    const entry = await kv.get(this.#key, { signal })
    if (entry !== undefined) this.#before = parsed(entry.text(), this.#key) as Counters
    const tell = (): void => void this.tell().catch(() => {})
    tell()
    this.#timer = setInterval(tell, SECOND_MS)
    signal.addEventListener('abort', () => this.stop())
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** @throws as `kv.put`; figures that are missed are told with the next ones */
  async tell(): Promise<void> {
    const { kv, signal, read } = this.#components
    const now = read()
    const atMs = performance.now()
    const elapsedMs = atMs - this.#last.atMs
    if (elapsedMs >= SECOND_MS / 2) {
      this.#rate = Math.round(((now.in - this.#last.in) / elapsedMs) * SECOND_MS)
      this.#last = { in: now.in, atMs }
    }
    const figures: InstanceFigures = {
      ...added(this.#before, now),
      pending: now.pending,
      queue: now.queue,
      rate: this.#rate,
      ...this.#about,
      atMs: Date.now()
    }
    await kv.put(this.#key, JSON.stringify(figures), { signal })
  }
}

/** @returns counters of both together */
export function added(a: Counters, b: Counters): Counters {
  return {
    in: a.in + b.in,
    out: a.out + b.out,
    acked: a.acked + b.acked,
    failed: a.failed + b.failed,
    replayed: a.replayed + b.replayed,
    givenUp: a.givenUp + b.givenUp
  }
}

export { NONE as NO_FIGURES }
