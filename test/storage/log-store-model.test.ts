// Random writes against the simplest thing that could be right: arrays.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { isMeshError } from '../../src/base/errors.ts'
import { createRandom } from '../../src/base/random.ts'
import { EMPTY_CONFIG_STATE, EMPTY_HARD_STATE } from '../../src/core/raft/messages.ts'
import type { ConfigState, Entry, HardState } from '../../src/core/raft/messages.ts'
import type { GroupWrite, LogStore } from '../../src/storage/log-store.ts'
import { MemoryLogDisk, type MemoryLogStore } from '../../src/storage/memory/memory-log-store.ts'
import { CONFIG, contentOf, entriesOf } from '../conformance/log-store.ts'
import type { LogStoreHarness } from '../conformance/log-store.ts'
import { makeSimulatedLog, openMemoryLog } from './log-store-harness.ts'

/** Small, so that segments come and go, and entries of old ones are copied. */
const OPTIONS = { segmentBytes: 32 * 1_024, cacheBytes: 4 * 1_024, segmentCountMax: 2 }
const GROUPS = [0, 1, 2, 3]

/** How a write is made of what the group is then; some of them don't fit. */
type Shape = {
  group: number
  remove: boolean
  snapshot: number
  term: number
  /** Back from the end of the log; entries begin there. */
  back: number
  count: number
  size: number
  truncate: number
  meta: number
}

const sometimes = (max: number, arbitrary: number): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: arbitrary, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max }) }
  )

const shape: fc.Arbitrary<Shape> = fc.record({
  group: fc.constantFrom(...GROUPS),
  remove: fc.oneof(
    { weight: 30, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) }
  ),
  snapshot: sometimes(20, 20),
  term: sometimes(2, 4),
  back: sometimes(6, 4),
  count: fc.nat(6),
  size: fc.constantFrom(0, 10, 200, 1_500),
  truncate: sometimes(12, 3),
  meta: sometimes(50, 8)
})

type Step = { do: 'write'; batches: Shape[][] } | { do: 'reopen' | 'crash' | 'tear' }
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      batches: fc.array(fc.array(shape, { minLength: 1, maxLength: 4 }), {
        minLength: 1,
        maxLength: 4
      })
    })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('reopen', 'crash', 'tear') }) }
)

type Group = {
  start: number
  startTerm: number
  entries: readonly Entry[]
  hardState: HardState
  configState: ConfigState
  meta: Uint8Array | undefined
  isRemoved: boolean
}

const NEW: Group = {
  start: 0,
  startTerm: 0,
  entries: [],
  hardState: EMPTY_HARD_STATE,
  configState: EMPTY_CONFIG_STATE,
  meta: undefined,
  isRemoved: false
}

const lastOf = ({ start, entries }: Group): number => start + entries.length

function writeOf(shape: Shape, before: Group): GroupWrite {
  const { group, remove, snapshot, term, back, count, size, truncate, meta } = shape
  const base = remove ? NEW : before
  const last = snapshot > 0 ? lastOf(base) + snapshot : lastOf(base)
  const now = base.hardState.term + term
  const first = Math.max(1, last + 1 - back)
  return {
    group,
    remove: remove ? true : undefined,
    snapshot: snapshot > 0 ? { index: last, term: now, configState: CONFIG } : undefined,
    hardState: term > 0 ? { term: now, vote: term, commit: base.start } : undefined,
    meta: meta > 0 ? new Uint8Array(meta).fill(meta) : undefined,
    entries: count > 0 ? entriesOf(first, first + count - 1, now, size) : undefined,
    truncateTo: truncate > 0 ? Math.max(0, last + count - back - truncate + 1) : undefined
  }
}

/** @returns what the group is then; undefined when the write doesn't fit. */
function after(before: Group, write: GroupWrite): Group | undefined {
  const { remove, snapshot, hardState, meta, entries = [], truncateTo } = write
  if (remove === undefined && before.isRemoved) return undefined
  let group: Group = remove === undefined ? before : NEW
  if (snapshot !== undefined) {
    const { index, term, configState } = snapshot
    if (index <= group.start) return undefined
    group = { ...group, start: index, startTerm: term, entries: [], configState }
  }
  if (hardState !== undefined) group = { ...group, hardState }
  if (meta !== undefined) group = { ...group, meta }
  const [first] = entries
  if (first !== undefined) {
    if (first.index <= group.start || first.index > lastOf(group) + 1) return undefined
    const kept = group.entries.slice(0, first.index - group.start - 1)
    group = { ...group, entries: [...kept, ...entries] }
  }
  if (truncateTo !== undefined && truncateTo > lastOf(group)) return undefined
  if (truncateTo !== undefined && truncateTo > group.start) {
    const startTerm = (group.entries[truncateTo - group.start - 1] as Entry).term
    const rest = group.entries.slice(truncateTo - group.start)
    group = { ...group, start: truncateTo, startTerm, entries: rest }
  }
  const isBegun = snapshot ?? hardState ?? first
  return { ...group, isRemoved: remove === true && isBegun === undefined }
}

function check(store: LogStore, model: ReadonlyMap<number, Group>): void {
  expect(store.groups()).toEqual([...model.keys()].toSorted((a, b) => a - b))
  for (const [id, group] of model) {
    const log = store.group(id)
    expect(log.damage()).toBeUndefined()
    expect(log.isRemoved()).toBe(group.isRemoved)
    expect(log.initialState()).toEqual({
      hardState: group.hardState,
      configState: group.configState
    })
    expect([log.firstIndex(), log.lastIndex()]).toEqual([group.start + 1, lastOf(group)])
    expect(log.meta()).toEqual(group.meta)
    expect(log.term(group.start)).toBe(group.startTerm)
    for (const { index, term } of group.entries) expect(log.term(index)).toBe(term)
    expect(contentOf(log)).toEqual(group.entries)
  }
}

/** Writes batches at one time. */
async function writeAll(
  store: LogStore,
  model: Map<number, Group>,
  batches: readonly Shape[][]
): Promise<void> {
  const writes: { done: Promise<string>; fits: boolean }[] = []
  for (const shapes of batches) {
    const next = new Map(model)
    let fits = true
    const batch = shapes.map((one) => {
      const before = next.get(one.group) ?? NEW
      const write = writeOf(one, before)
      const group = after(before, write)
      fits &&= group !== undefined
      next.set(one.group, group ?? before)
      return write
    })
    const done = store.write(batch).then(
      () => 'written',
      (error: unknown) => (isMeshError(error) ? error.code : String(error))
    )
    writes.push({ done, fits })
    if (fits) for (const [id, group] of next) model.set(id, group)
  }
  for (const { done, fits } of writes)
    expect(await done).toBe(fits ? 'written' : 'invalid-argument')
}

describe('a log store and arrays', () => {
  it('agree in memory, over crashes that leave anything of a write under way', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.nat(), async (steps, seed) => {
        const random = createRandom(seed)
        const disk = new MemoryLogDisk()
        const model = new Map<number, Group>()
        let store: MemoryLogStore = await openMemoryLog(disk, OPTIONS)
        for (const one of steps) {
          if (one.do === 'write') await writeAll(store, model, one.batches)
          else {
            if (one.do === 'reopen') await store.close()
            // A group of its own, so that it doesn't matter how much of the write is left.
            store.faults.stall()
            const lost = store.write([{ group: 99, meta: new Uint8Array(2_000).fill(1) }])
            const settled = Promise.allSettled([lost])
            for (let turn = 0; turn < 8; turn++) await Promise.resolve()
            store.faults.crash(one.do === 'tear' ? random : undefined)
            await settled
            store = await openMemoryLog(disk, OPTIONS)
            if (store.groups().includes(99)) {
              expect(store.group(99).damage()).toBeUndefined()
              await store.write([{ group: 99, remove: true }])
              model.set(99, { ...NEW, isRemoved: true })
            }
          }
          check(store, model)
        }
        await store.close()
        store = await openMemoryLog(disk, OPTIONS)
        check(store, model)
        await store.close()
      }),
      { numRuns: 150 }
    )
  }, 120_000)

  it('agree on a simulated disk', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const harness: LogStoreHarness = await makeSimulatedLog(OPTIONS)
        let { store } = harness
        const model = new Map<number, Group>()
        for (const one of steps) {
          if (one.do === 'write') await writeAll(store, model, one.batches)
          else store = one.do === 'reopen' ? await harness.reopen() : await harness.crash()
          check(store, model)
        }
        await harness.dispose()
      }),
      { numRuns: 40 }
    )
  }, 120_000)
})
