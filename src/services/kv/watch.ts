// Watching keys: every change from a revision on, in order, none left out.

import type { Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import { GET } from '../../core/machine/own-queries.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { ChangeEvent, RevisionEvents } from '../../core/machine/transaction.ts'
import type { Shards } from '../../shard/shards.ts'
import { followChanges } from '../follow-changes.ts'
import { KvEntry } from './entry.ts'
import { placeOf } from './key.ts'
import type { Selector } from './key.ts'

const lenient = new TextDecoder()

export type WatchOptions = {
  /** The first revision that is wanted; from now on unless given. */
  readonly fromRevision?: number | undefined
  /** Whether events tell what was there before. */
  readonly previous?: boolean | undefined
  /** Ends the watch, without an error. */
  readonly signal?: AbortSignal | undefined
}

type EventBase = {
  readonly key: string
  readonly keyBytes: Uint8Array
  /** The change that did it. Changes of one transaction share theirs. */
  readonly revision: number
  /**
   * Give it as `fromRevision` to go on after this event, in another process too. Within a
   * transaction that is the same revision again, so that nothing of it can be missed.
   */
  readonly resumeFrom: number
  /** What was there before, when it was asked for and was there. */
  readonly previous?: KvEntry | undefined
}

export type WatchEvent =
  | (EventBase & { readonly type: 'put'; readonly entry: KvEntry })
  | (EventBase & { readonly type: 'delete' })

/** Events as they come. Ends when the signal is aborted or the loop is left. */
export class Watch implements AsyncIterableIterator<WatchEvent, undefined> {
  /** Resolves to the first revision that is watched: from here on nothing is missed. */
  readonly started: Promise<number>
  readonly #components: { shards: Shards; clock: Clock }
  readonly #options: WatchOptions
  readonly #place: ReturnType<typeof spanOf>
  /** The caller's wish to end; `#stopping` isn't, and is told as an error. */
  readonly #ended = new AbortController()
  readonly #stopping: AbortSignal
  readonly #events: AsyncGenerator<WatchEvent, undefined>

  /** @throws invalid-argument when the keys aren't of one space */
  constructor(
    components: { shards: Shards; clock: Clock; stopping: AbortSignal },
    selector: Selector,
    options: WatchOptions
  ) {
    this.#components = components
    this.#stopping = components.stopping
    this.#options = options
    this.#place = spanOf(selector)
    this.started = this.#start()
    // Whoever iterates is told of it there.
    this.started.catch(() => {})
    this.#events = this.#run()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<WatchEvent, undefined>> {
    return await this.#events.next()
  }

  async return(): Promise<IteratorResult<WatchEvent, undefined>> {
    this.#ended.abort(new MeshError('aborted', 'The watch has ended'))
    return await this.#events.return(undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #start(): Promise<number> {
    const { fromRevision } = this.#options
    if (fromRevision !== undefined) return fromRevision
    const { space, span } = this.#place
    const asked = { area: AREAS.kv, key: span.from, revision: undefined }
    const options = { signal: this.#signal() }
    const { result } = await this.#components.shards.query({ space }, GET, asked, options)
    return result.revision + 1
  }

  async *#run(): AsyncGenerator<WatchEvent, undefined> {
    const { space, span } = this.#place
    const signal = this.#signal()
    try {
      const query = { area: AREAS.kv, ...span, revision: await this.started }
      const pages = followChanges(this.#components, { target: { space }, query, signal })
      for await (const { revisions } of pages) {
        for (const revision of revisions) {
          for (const event of this.#eventsOf(revision)) {
            if (this.#isOver()) return undefined
            yield event
          }
        }
      }
    } catch (error) {
      if (!this.#isOver()) throw error
    }
    return undefined
  }

  *#eventsOf({ revision, events }: RevisionEvents): Generator<WatchEvent> {
    for (const [index, event] of events.entries()) {
      const resumeFrom = index === events.length - 1 ? revision + 1 : revision
      yield this.#eventOf(event, { revision, resumeFrom })
    }
  }

  #eventOf(
    { key, current, previous }: ChangeEvent,
    at: { revision: number; resumeFrom: number }
  ): WatchEvent {
    const isWanted = this.#options.previous === true && previous !== undefined
    const before = isWanted ? { previous: new KvEntry({ key, ...previous }) } : {}
    const base = { key: lenient.decode(key), keyBytes: new Uint8Array(key), ...at, ...before }
    if (current === undefined) return { type: 'delete', ...base }
    return { type: 'put', ...base, entry: new KvEntry({ key, ...current }) }
  }

  #isOver(): boolean {
    return this.#ended.signal.aborted || this.#options.signal?.aborted === true
  }

  #signal(): AbortSignal {
    const { signal } = this.#options
    const own = [this.#ended.signal, this.#stopping]
    return AbortSignal.any(signal === undefined ? own : [...own, signal])
  }
}

function spanOf(selector: Selector): Extract<ReturnType<typeof placeOf>, { space: Uint8Array }> {
  const place = placeOf(selector)
  if (place.space !== undefined) return place
  const problem = 'a watch lies in one space; write "space/", or { key } for one key'
  throw new MeshError('invalid-argument', `Cannot watch: ${problem}`)
}
