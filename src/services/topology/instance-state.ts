// What an instance remembers, in pages that are written whole when something of them has changed: so a
// thousand counters that change all the time are a few writes a second.

import { MeshError } from '../../base/errors.ts'
import { KIB } from '../../base/units.ts'
import type { Part } from '../../core/machine/kv.ts'
import { instanceOfKey } from '../../core/streams/grouping.ts'
import type { Kv } from '../kv/kv.ts'
import { op } from '../kv/txn.ts'
import type { OperatorState } from './definition.ts'
import { parsed } from './keys.ts'

const PAGES = 32
/** Of pages that are written with one transaction. */
const WRITE_BYTES_MAX: number = 256 * KIB
/** What a page may have: 8 MiB of state for an instance, about. */
const PAGE_BYTES_MAX: number = 250 * KIB

type Page = Map<string, unknown>

export class InstanceState implements OperatorState {
  readonly #prefix: string
  readonly #pages: readonly Page[] = Array.from({ length: PAGES }, () => new Map())
  readonly #changed = new Set<number>()
  #isUsed = false

  /** @param prefix of the keys that it is kept in */
  constructor(prefix: string) {
    this.#prefix = prefix
  }

  async load(kv: Kv, signal: AbortSignal): Promise<void> {
    for await (const entry of kv.list(this.#prefix, { signal })) {
      const page = this.#pages[Number(entry.key.slice(this.#prefix.length))]
      for (const [key, value] of pageEntries(entry)) page?.set(key, value)
    }
  }

  /** Something was ever written to it here. */
  get isUsed(): boolean {
    return this.#isUsed
  }

  get size(): number {
    return this.#pages.reduce((sum, { size }) => sum + size, 0)
  }

  get(key: string): unknown {
    return this.#pages[pageOf(key)]?.get(key)
  }

  set(key: string, value: unknown): void {
    const page = pageOf(key)
    this.#pages[page]?.set(key, value)
    this.#note(page)
  }

  delete(key: string): void {
    const page = pageOf(key)
    if (this.#pages[page]?.delete(key) === true) this.#note(page)
  }

  *entries(): Generator<[string, unknown]> {
    for (const page of this.#pages) yield* page
  }

  /** @returns what has changed, as writes of some transactions @throws too-large */
  takeWrites(): Part[][] {
    const transactions: Part[][] = []
    let bytes = Infinity
    for (const page of [...this.#changed].toSorted((a, b) => a - b)) {
      const text = JSON.stringify([...(this.#pages[page] ?? [])])
      if (text.length > PAGE_BYTES_MAX) throw tooLarge(this.#prefix)
      if (bytes + text.length > WRITE_BYTES_MAX) {
        transactions.push([])
        bytes = 0
      }
      bytes += text.length
      transactions.at(-1)?.push(op.put(`${this.#prefix}${page}`, text))
    }
    this.#changed.clear()
    return transactions
  }

  #note(page: number): void {
    this.#changed.add(page)
    this.#isUsed = true
  }
}

/** @returns what a page of a state that is kept has */
export function pageEntries(entry: { readonly key: string; text(): string }): [string, unknown][] {
  return parsed(entry.text(), entry.key) as [string, unknown][]
}

/** Not by the hash that tuples are grouped by alone: an instance would have few of the pages. */
function pageOf(key: string): number {
  return instanceOfKey(`${key}\0`, PAGES)
}

function tooLarge(prefix: string): MeshError {
  const advice = 'have more instances, or keep it in files'
  return new MeshError('too-large', `The state at ${prefix} is over 8 MiB: ${advice}`)
}
