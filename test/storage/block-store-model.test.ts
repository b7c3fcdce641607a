// Random calls against the simplest thing that could be right: a map.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { isMeshError } from '../../src/base/errors.ts'
import type { BlockId } from '../../src/base/ids.ts'
import type { BlockStore } from '../../src/storage/block-store.ts'
import { sampleBlock, type BlockStoreHarness } from '../conformance/block-store.ts'
import { makeMemoryStore, makeSimulatedStore } from './block-store-harness.ts'

const BLOCKS = Array.from({ length: 8 }, (_, seed) => sampleBlock(seed, seed * 10 + 10))
/** Not all of them fit. */
const CAPACITY_BYTES = 200

type Step =
  | { do: 'put' | 'get' | 'delete' | 'corrupt' | 'lose'; block: number }
  | { do: 'reopen' }
  | { do: 'together'; steps: { do: 'put' | 'get' | 'delete'; block: number }[] }

const block = fc.nat(BLOCKS.length - 1)
const call = fc.record({ do: fc.constantFrom('put', 'get', 'delete'), block })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: call },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('corrupt', 'lose'), block }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('together'),
      steps: fc.array(call, { minLength: 2, maxLength: 8 })
    })
  }
)

/** What the store should hold. `damage` is what it can't know before it reads. */
type Model = { held: Map<BlockId, number>; damage: Map<BlockId, 'corrupt' | 'missing'> }

async function outcome(work: Promise<unknown>): Promise<unknown> {
  try {
    return await work
  } catch (error) {
    return isMeshError(error) ? error.code : error
  }
}

function modelBytes(model: Model): number {
  let sum = 0
  for (const size of model.held.values()) sum += size
  return sum
}

function modelPut(model: Model, id: BlockId, size: number): unknown {
  if (model.held.has(id)) return undefined
  if (modelBytes(model) + size > CAPACITY_BYTES) return 'disk-full'
  model.held.set(id, size)
  model.damage.delete(id)
  return undefined
}

function modelGet(model: Model, id: BlockId, bytes: Uint8Array): unknown {
  if (!model.held.has(id)) return 'not-found'
  const damage = model.damage.get(id)
  if (damage === undefined) return bytes
  model.held.delete(id)
  return damage === 'corrupt' ? 'corrupt' : 'not-found'
}

class Run {
  readonly #harness: BlockStoreHarness
  readonly #model: Model = { held: new Map(), damage: new Map() }
  #store: BlockStore

  constructor(harness: BlockStoreHarness) {
    this.#harness = harness
    this.#store = harness.store
  }

  async step(step: Step): Promise<void> {
    if (step.do === 'reopen') await this.#reopen()
    else if (step.do === 'together') await this.#together(step.steps)
    else await this.#one(step.do, step.block)
    this.#compare()
  }

  async #one(what: 'put' | 'get' | 'delete' | 'corrupt' | 'lose', block: number): Promise<void> {
    const { id, bytes } = BLOCKS[block] as (typeof BLOCKS)[0]
    const model = this.#model
    if (what === 'put') {
      expect(await outcome(this.#store.put(id, bytes))).toEqual(modelPut(model, id, bytes.length))
    } else if (what === 'get') {
      expect(await outcome(this.#store.get(id))).toEqual(modelGet(model, id, bytes))
    } else if (what === 'delete') {
      await this.#store.delete(id)
      model.held.delete(id)
    } else if (model.held.has(id) && !model.damage.has(id)) {
      if (what === 'corrupt') await this.#harness.corrupt(id)
      else await this.#harness.lose(id)
      model.damage.set(id, what === 'corrupt' ? 'corrupt' : 'missing')
    }
  }

  /**
   * Calls at the same time have no one right outcome, so only what must hold of any is checked, and
   * the model takes over what the store has at the end.
   */
  async #together(steps: { do: 'put' | 'get' | 'delete'; block: number }[]): Promise<void> {
    const before = new Set(this.#model.held.keys())
    const calls = steps.map(async (step) => {
      const { id, bytes } = BLOCKS[step.block] as (typeof BLOCKS)[0]
      if (step.do === 'put') await outcome(this.#store.put(id, bytes))
      else if (step.do === 'delete') await this.#store.delete(id)
      else {
        const got = await outcome(this.#store.get(id))
        if (got instanceof Uint8Array) expect(got).toEqual(bytes)
        else expect(['not-found', 'corrupt']).toContain(got)
      }
    })
    await Promise.all(calls)
    for (const { id, bytes } of BLOCKS) {
      const last = steps.findLast((step) => step.do !== 'get' && BLOCKS[step.block]?.id === id)
      if (last?.do === 'delete') expect(this.#store.has(id)).toBe(false)
      if (last === undefined && !before.has(id)) expect(this.#store.has(id)).toBe(false)
      this.#model.held.delete(id)
      if (!this.#store.has(id)) continue
      const verdict = await this.#store.verify(id)
      if (verdict !== 'good') expect(this.#model.damage.has(id)).toBe(true)
      else this.#model.held.set(id, bytes.length)
      if (verdict === 'good') this.#model.damage.delete(id)
    }
  }

  async #reopen(): Promise<void> {
    this.#store = await this.#harness.reopen()
    for (const [id, damage] of this.#model.damage) {
      if (damage === 'missing') this.#model.held.delete(id)
    }
  }

  #compare(): void {
    const held = [...this.#model.held.keys()].toSorted()
    const listed = this.#store.arcs().flatMap((arc) => this.#store.list(arc))
    expect(listed.toSorted()).toEqual(held)
    for (const { id } of BLOCKS) expect(this.#store.has(id)).toBe(this.#model.held.has(id))
    expect(this.#store.usage()).toEqual({
      count: held.length,
      bytes: modelBytes(this.#model),
      capacityBytes: CAPACITY_BYTES
    })
  }
}

describe.each([
  ['MemoryBlockStore', makeMemoryStore],
  ['FileBlockStore on a simulated disk', makeSimulatedStore]
])('%s', (_, make) => {
  it('behaves as a map does, whatever is called in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const harness = await make({ capacityBytes: CAPACITY_BYTES, arcCount: 4 })
        try {
          const run = new Run(harness)
          for (const step of steps) await run.step(step)
        } finally {
          await harness.dispose()
        }
      }),
      { numRuns: 150 }
    )
  })
})
