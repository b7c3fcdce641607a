// State stores against plain sorted maps, over restarts and crashes.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { KIB } from '../../src/base/units.ts'
import type { GroupState, StateStore } from '../../src/storage/state-store.ts'
import type { MakeStateStore, StateStoreHarness } from '../conformance/state-store.ts'
import { contentOf } from '../conformance/state-store.ts'
import { makeFileState, makeMemoryState } from './state-store-harness.ts'

type Content = ReadonlyMap<string, string>
/** What a group was after each of its batches since the last that is surely on disk. */
type Model = { versions: Content[]; open: Map<string, string> }

const NOTE = '\u0000note'
const key = fc.constantFrom('a', 'aa', 'ab', 'b', 'ba', 'c', 'ca', 'd', 'e', 'zz')
const group = fc.integer({ min: 0, max: 2 })
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant('put' as const), group, key, size: fc.nat(40) })
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('delete' as const), group, key }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('note' as const), group }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('commit' as const), group }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rollback' as const), group }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('flush' as const), group }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('begin-flush' as const), group }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), group }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('install' as const), group, key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const) }) }
)
const bounds = fc.record({
  from: fc.option(key, { nil: undefined }),
  to: fc.option(key, { nil: undefined }),
  limit: fc.option(fc.nat(5), { nil: undefined }),
  reverse: fc.boolean()
})
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
type Bounds = typeof bounds extends fc.Arbitrary<infer T> ? T : never

const last = (model: Model): Content => model.versions.at(-1) as Content

function pairsOf(content: Content, { from, to, limit, reverse }: Bounds): string[] {
  const keys = [...content.keys()]
    .filter((one) => one !== NOTE && (from === undefined || one >= from))
    .filter((one) => to === undefined || one < to)
    .toSorted()
  if (reverse) keys.reverse()
  return keys.slice(0, limit).map((one) => `${one}=${content.get(one)}`)
}

function check(state: GroupState, model: Model, range: Bounds): void {
  const { from, to, limit, reverse } = range
  const found = state.range({
    reverse,
    ...(from === undefined ? {} : { from: utf8(from) }),
    ...(to === undefined ? {} : { to: utf8(to) }),
    ...(limit === undefined ? {} : { limit })
  })
  const texts = [...found].map((pair) => `${fromUtf8(pair.key)}=${fromUtf8(pair.value)}`)
  expect(texts).toEqual(pairsOf(model.open, range))
  for (const one of ['a', 'ab', 'zz']) {
    const value = model.open.get(one)
    expect(state.get(utf8(one))).toEqual(value === undefined ? undefined : utf8(value))
  }
  const note = state.note()
  expect(note === undefined ? undefined : fromUtf8(note)).toBe(model.open.get(NOTE))
}

/** @returns the version that a store went back to. */
function survivor(state: GroupState, model: Model): Content {
  const note = state.note()
  const found = [...contentOf(state), note === undefined ? '' : fromUtf8(note)].join()
  const all: Bounds = { from: undefined, to: undefined, limit: undefined, reverse: false }
  const text = (content: Content): string =>
    [...pairsOf(content, all), content.get(NOTE) ?? ''].join()
  const version = model.versions.findLast((content) => text(content) === found)
  expect(model.versions.map(text)).toContain(found)
  return version as Content
}

async function install(state: GroupState, model: Model, text: string): Promise<void> {
  state.rollback()
  const installing = await state.install()
  await installing.write([{ key: utf8(text), value: utf8('installed') }])
  await installing.finish(utf8('installed'))
  const content = new Map([
    [text, 'installed'],
    [NOTE, 'installed']
  ])
  Object.assign(model, { versions: [content], open: new Map(content) })
}

async function restart(
  harness: StateStoreHarness,
  models: Model[],
  isCrash: boolean
): Promise<StateStore> {
  const store = isCrash ? await harness.crash() : await harness.reopen()
  expect(store.lost()).toBe(false)
  for (const [id, model] of models.entries()) {
    expect(store.damageOf(id)).toBeUndefined()
    if (!isCrash) model.versions = [last(model)]
    const content = survivor(store.group(id), model)
    models[id] = { versions: [content], open: new Map(content) }
  }
  return store
}

async function runModel(make: MakeStateStore, steps: Step[], range: Bounds): Promise<void> {
  const harness = await make({ flushBytes: KIB })
  try {
    let { store } = harness
    const models: Model[] = [0, 1, 2].map(() => ({ versions: [new Map()], open: new Map() }))
    let number = 0
    for (const one of steps) {
      number += 1
      if (one.do === 'reopen' || one.do === 'crash') {
        store = await restart(harness, models, one.do === 'crash')
        continue
      }
      const state = store.group(one.group)
      const model = models[one.group] as Model
      if (one.do === 'put') {
        const value = `${number}`.padEnd(one.size, '.')
        state.put(utf8(one.key), utf8(value))
        model.open.set(one.key, value)
      } else if (one.do === 'delete') {
        state.delete(utf8(one.key))
        model.open.delete(one.key)
      } else if (one.do === 'note') {
        state.setNote(utf8(`${number}`))
        model.open.set(NOTE, `${number}`)
      } else if (one.do === 'commit') {
        state.commit()
        model.versions.push(new Map(model.open))
      } else if (one.do === 'rollback') {
        state.rollback()
        model.open = new Map(last(model))
      } else if (one.do === 'flush') {
        await state.flushed()
        model.versions = [last(model)]
      } else if (one.do === 'begin-flush') {
        state.flushed().catch(() => undefined)
        await Promise.resolve()
      } else if (one.do === 'drop') {
        await store.drop(one.group)
        Object.assign(model, { versions: [new Map()], open: new Map() })
      } else await install(state, model, one.key)
      check(state, model, range)
    }
    await restart(harness, models, false)
  } finally {
    await harness.dispose()
  }
}

describe('a state store and sorted maps agree', () => {
  it('in memory', async () => {
    const steps = fc.array(step, { maxLength: 120 })
    await fc.assert(
      fc.asyncProperty(steps, bounds, (all, range) => runModel(makeMemoryState, all, range)),
      { numRuns: 150 }
    )
  }, 120_000)

  it('on disk', async () => {
    const steps = fc.array(step, { maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(steps, bounds, (all, range) => runModel(makeFileState, all, range)),
      { numRuns: 15 }
    )
  }, 120_000)
})
