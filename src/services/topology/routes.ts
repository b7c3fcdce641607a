// Where the instances of a topology run now, and whether it is to stop: as the mesh says, followed
// while it changes.

import { errorMessage } from '../../base/errors.ts'
import type { Kv } from '../kv/kv.ts'
import { controlPrefix, parsed, stopKey, type InstanceRecord, type StopRecord } from './keys.ts'
import { pause } from './waiting.ts'

const RETRY_MS = 200

export type RoutesComponents = {
  readonly kv: Kv
  readonly signal: AbortSignal
  readonly log: (...values: readonly unknown[]) => void
}

export class Routes {
  readonly #components: RoutesComponents
  readonly #name: string
  readonly #records = new Map<number, InstanceRecord & { revision: number }>()
  readonly #listeners = new Set<(index: number, isReplaced: boolean) => void>()
  #stop: StopRecord | undefined

  constructor(components: RoutesComponents, name: string) {
    this.#components = components
    this.#name = name
  }

  /** Set once the topology is to end. */
  get stop(): StopRecord | undefined {
    return this.#stop
  }

  recordOf(index: number): InstanceRecord | undefined {
    return this.#records.get(index)
  }

  /** Calls for every change; of an instance that was somewhere before, with true. -1: the stop. */
  onChanged(listener: (index: number, isReplaced: boolean) => void): void {
    this.#listeners.add(listener)
  }

  /** Resolves when what there is was read; it is followed until the signal is aborted. */
  async start(): Promise<void> {
    const revision = await this.#readAll()
    void this.#follow(revision + 1)
  }

  async #readAll(): Promise<number> {
    const { kv, signal } = this.#components
    const { revision } = await kv.read(stopKey(this.#name), { signal })
    for await (const entry of kv.list(controlPrefix(this.#name), { signal })) {
      this.#take(entry.key, entry)
    }
    return revision
  }

  async #follow(fromRevision: number): Promise<void> {
    const { kv, signal, log } = this.#components
    let next = fromRevision
    while (!signal.aborted) {
      try {
        const options = { fromRevision: next, signal }
        for await (const event of kv.watch(controlPrefix(this.#name), options)) {
          if (event.type === 'put') this.#take(event.key, event.entry)
          next = event.resumeFrom
        }
      } catch (error) {
        if (signal.aborted) return
        log(`Routes are read anew: ${errorMessage(error)}`)
        await pause(RETRY_MS, signal)
        next = await this.#readAll().then(
          (revision) => revision + 1,
          () => next
        )
      }
    }
  }

  #take(key: string, entry: { text(): string; readonly revision: number }): void {
    const name = key.slice(controlPrefix(this.#name).length)
    if (name === 'stop') {
      this.#stop ??= parsed(entry.text(), key) as StopRecord
      this.#tell(-1, false)
      return
    }
    const index = Number(name)
    const before = this.#records.get(index)
    if (before !== undefined && before.revision >= entry.revision) return
    const record = parsed(entry.text(), key) as InstanceRecord
    this.#records.set(index, { ...record, revision: entry.revision })
    this.#tell(index, before !== undefined && record.attempt > before.attempt)
  }

  #tell(index: number, isReplaced: boolean): void {
    for (const listener of this.#listeners) listener(index, isReplaced)
  }
}
