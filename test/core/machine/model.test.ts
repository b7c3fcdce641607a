// Transactions, reads and watches against a model that keeps every state there ever was.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex } from '../../../src/base/bytes.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import type { Compare, Part, TxnResult } from '../../../src/core/machine/kv.ts'
import { compareBytes, sortableDigits } from '../../../src/core/machine/ordered-state.ts'
import { isWithin } from '../../../src/core/machine/space.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import { Shard, codeOf, text } from './shard.ts'
import { anyKey, anySpan, anyTxn } from './workload.ts'

type Known = {
  key: Uint8Array
  createRevision: number
  modRevision: number
  version: number
  value: Uint8Array
}
type World = ReadonlyMap<string, Known>
type Result = TxnResult['results'][number]

/** What a shard should be: a map for each revision, from the names of keys to what they are. */
class Model {
  worlds: World[] = [new Map()]

  get revision(): number {
    return this.worlds.length - 1
  }

  get now(): World {
    return this.worlds[this.revision] as World
  }

  txn(compares: readonly Compare[], success: readonly Part[], failure: readonly Part[]): TxnResult {
    const succeeded = compares.every((compare) => this.holds(compare))
    const world = new Map(this.now)
    const touched = new Set<string>()
    const results = (succeeded ? success : failure).map((part, place) =>
      this.part(world, touched, { part, place })
    )
    const hasChanged = [...touched].some((name) => world.has(name) || this.now.has(name))
    if (hasChanged) this.worlds.push(world)
    return { succeeded, results }
  }

  holds(compare: Compare): boolean {
    const known = this.now.get(toHex(compare.key))
    if (compare.kind === 'exists') return (known !== undefined) === compare.exists
    if (compare.kind === 'value' && known === undefined) return false
    const order =
      compare.kind === 'value'
        ? compareBytes(known?.value ?? compare.value, compare.value)
        : (compare.field === 'lease' ? 0 : (known?.[compare.field] ?? 0)) - compare.number
    const signs = { '=': [0], '!=': [-1, 1], '<': [-1], '>': [1] }
    return signs[compare.relation].includes(Math.sign(order))
  }

  part(
    world: Map<string, Known>,
    touched: Set<string>,
    { part, place }: { part: Part; place: number }
  ): Result {
    const put = (key: Uint8Array, value: Uint8Array): void => {
      const before = this.now.get(toHex(key))
      const modRevision = this.revision + 1
      const createRevision = before?.createRevision ?? modRevision
      const version = (before?.version ?? 0) + 1
      world.set(toHex(key), { key, createRevision, modRevision, version, value })
      touched.add(toHex(key))
    }
    const remove = (key: Uint8Array): number => {
      if (!world.delete(toHex(key))) return 0
      touched.add(toHex(key))
      return 1
    }
    if (part.kind === 'get') {
      const known = world.get(toHex(part.key))
      return { kind: 'entry', entry: known === undefined ? undefined : { ...known, lease: 0 } }
    }
    if (part.kind === 'put') {
      put(part.key, part.value)
      return { kind: 'put' }
    }
    if (part.kind === 'append') {
      const suffix = text(sortableDigits(this.revision + 1, 14)) + text(sortableDigits(place, 2))
      const key = new Uint8Array([...part.prefix, ...Buffer.from(suffix)])
      put(key, part.value)
      return { kind: 'appended', key }
    }
    if (part.kind === 'delete') {
      return { kind: 'deleted', count: remove(part.key), next: undefined }
    }
    const inside = within(world, part)
    const found = inside.slice(0, part.limit)
    const next = inside[part.limit]?.key
    if (part.kind === 'range') {
      return { kind: 'entries', entries: found.map((known) => ({ ...known, lease: 0 })), next }
    }
    for (const { key } of found) remove(key)
    return { kind: 'deleted', count: found.length, next }
  }
}

function within(world: World, span: { from: Uint8Array; to: Uint8Array }): Known[] {
  return [...world.values()]
    .filter(({ key }) => isWithin(key, span))
    .toSorted((a, b) => compareBytes(a.key, b.key))
}

const noLease = (part: Part): Part => ('lease' in part ? { ...part, lease: 0 } : part)
const isFine = (part: Part): boolean => !('limit' in part) || part.limit > 0

describe('a shard', () => {
  it('is at every revision what a model says, is watched so, and compacts no more than it may', () => {
    const anySettings = fc.record({
      retainCountMin: fc.nat(6),
      retainCountMax: fc.integer({ min: 6, max: 30 }),
      retainMs: fc.nat(50)
    })
    const step = fc.record({ txn: anyTxn, passedMs: fc.nat(5) })
    const steps = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' })
    let compactedReads = 0
    let pastReads = 0
    fc.assert(
      fc.property(anySettings, steps, anySpan, anyKey, (settings, steps, span, key) => {
        const shard = new Shard()
        shard.configure(settings)
        const model = new Model()
        const timesMs = [0]
        for (const { txn, passedMs } of steps) {
          shard.nowMs += passedMs
          const success = txn.success.filter(isFine).map(noLease)
          const failure = txn.failure.filter(isFine).map(noLease)
          const { compares } = txn
          const found = shard.txn({ compares, success, failure })
          expect(found).toEqual(model.txn(compares, success, failure))
          if (timesMs.length <= model.revision) timesMs.push(shard.nowMs)
        }
        const { revision, compacted, timeMs } = shard.machine.reads.meta
        expect(revision).toBe(model.revision)
        shard.check()

        // Nothing that had to stay went.
        expect(revision - compacted).toBeGreaterThanOrEqual(
          Math.min(revision, settings.retainCountMin)
        )
        if (compacted > 0 && revision - compacted < settings.retainCountMax) {
          expect(timeMs - (timesMs[compacted] as number)).toBeGreaterThanOrEqual(settings.retainMs)
        }

        for (let at = 0; at <= revision; at++) {
          const read = (): unknown => shard.machine.reads.get({ area: AREAS.kv, key }, at)
          if (at < compacted) {
            expect(codeOf(read)).toBe('compacted')
            compactedReads += 1
            continue
          }
          if (at < revision) pastReads += 1
          const world = model.worlds[at] as World
          const known = world.get(toHex(key))
          const entry = known === undefined ? undefined : { ...known, lease: 0 }
          expect(read()).toEqual({ revision: at, entry })
          const page = shard.machine.reads.range({ area: AREAS.kv, ...span, revision: at })
          expect(page.entries).toEqual(within(world, span).map((known) => ({ ...known, lease: 0 })))
        }
        checkWatch(shard, model, span)
      }),
      { numRuns: 150 }
    )
    expect(compactedReads).toBeGreaterThan(100)
    expect(pastReads).toBeGreaterThan(300)
  })
})

/** Replays what a watch tells, from each revision that is kept: the model's states come out. */
function checkWatch(shard: Shard, model: Model, span: { from: Uint8Array; to: Uint8Array }): void {
  const { compacted, revision } = shard.machine.reads.meta
  const show = (world: World): string[] =>
    within(world, span).map(({ key, value }) => `${toHex(key)}=${toHex(value)}`)
  for (let first = compacted + 1; first <= revision + 1; first++) {
    const world = new Map<string, Known>(model.worlds[first - 1])
    let next = first
    for (let isUpToDate = false; !isUpToDate;) {
      const query = { area: AREAS.kv, ...span, revision: next, eventsMax: 3 }
      const page = shard.machine.reads.changesSince(query)
      let last = next - 1
      for (const { revision, events } of page.revisions) {
        expect(revision).toBeGreaterThan(last)
        last = revision
        for (const { key, current, previous } of events) {
          const name = toHex(key)
          expect(previous?.value).toEqual(world.get(name)?.value)
          if (current === undefined) world.delete(name)
          else world.set(name, { key, ...current })
        }
        expect(show(world)).toEqual(show(model.worlds[revision] as World))
      }
      expect(page.next).toBeGreaterThan(last)
      next = page.next
      isUpToDate = page.isUpToDate
    }
    expect(show(world)).toEqual(show(model.now))
  }
  if (compacted === 0) return
  const query = { area: AREAS.kv, ...span, revision: compacted }
  try {
    shard.machine.reads.changesSince(query)
    expect.unreachable()
  } catch (error) {
    expect(isMeshError(error, 'compacted')).toBe(true)
  }
}
