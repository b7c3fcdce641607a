import { describe, expect, it } from 'vitest'
import { fromUtf8 } from '../../../src/base/bytes.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import { registry } from '../../../src/executor/task-registry.ts'
import { placesOf } from '../../../src/services/topology/definition.ts'
import { InstanceState, pageEntries } from '../../../src/services/topology/instance-state.ts'
import { topology } from '../../../src/services/topology/topology.ts'
import { codeOfTopology } from '../../../src/services/topology/topology-code.ts'
import {
  decodeMessage,
  encodeMessage,
  halves,
  TupleBuffer
} from '../../../src/services/topology/tuple-codec.ts'

const words = topology('words')
  .spout('lines', function* () {
    yield 'one fish'
  })
  .bolt('split', (_, line) => line.split(' '), { from: 'lines', parallel: 2 })
  .bolt('count', (ctx, word) => ctx.state.set(word, 1), {
    from: 'split',
    groupBy: (word) => word,
    parallel: 3
  })

const outer = 1

const codeOf = async (work: () => unknown): Promise<string> => {
  try {
    await work()
    return 'none'
  } catch (error) {
    return isMeshError(error) ? error.code : String(error)
  }
}

describe('topology()', () => {
  it('numbers its instances in the order of its operators', () => {
    const names = placesOf(words.operators).map(
      ({ index, operator, instance }) => `${index} ${operator.name}.${instance}`
    )
    const expected = ['0 lines.0', '1 split.0', '2 split.1', '3 count.0', '4 count.1', '5 count.2']
    expect(names).toEqual(expected)
  })

  it('is known as a task, with all its operators', () => {
    expect(registry().get('topology.words')?.fn).toBeTypeOf('function')
  })

  it('refuses what has no beginning, two of one name, and tuples of operators that are not there', async () => {
    const fn = (): undefined => undefined
    const list = (): number[] => [1]
    const start = topology('wrong').spout('a', list)
    for (const wrong of [
      () => topology('not a name'),
      () => topology('wrong').bolt('b', fn, { from: 'a' as never }),
      () => start.spout('a', list),
      () => start.bolt('b', fn, { from: 'c' as 'a' }),
      () => start.bolt('b', fn, { from: [] }),
      () => start.bolt('b', fn, { from: 'a', parallel: 0 }),
      () => start.bolt('b', fn, { from: 'a', parallel: 300 }),
      () => topology('wrong', { cpu: 0.5 }).spout('a', list)
    ]) {
      expect(await codeOf(wrong)).toBe('invalid-argument')
    }
  })

  it('travels as its functions alone when they use nothing from around them', async () => {
    const { source } = await codeOfTopology(words)
    expect(fromUtf8(source)).toContain('one fish')
    expect(fromUtf8(source)).not.toContain('not a name')
  })

  it('travels as its file otherwise', async () => {
    const bound = topology('bound').spout('numbers', function* () {
      yield outer
    })
    const { name, options, operators } = bound
    const definition = { name, options, operators, file: import.meta.filename }
    const { source } = await codeOfTopology(definition)
    expect(fromUtf8(source)).toContain('not a name')
    const unknown = { ...definition, file: undefined }
    expect(await codeOf(async () => await codeOfTopology(unknown))).toBe('not-self-contained')
  })
})

describe('InstanceState', () => {
  it('writes what has changed, in pages, once', () => {
    const state = new InstanceState('p/')
    expect(state.isUsed).toBe(false)
    for (let key = 0; key < 1_000; key++) state.set(`key-${key}`, key)
    state.delete('key-7')
    const [parts] = state.takeWrites() as unknown as [{ key: Uint8Array; value: Uint8Array }[]]
    expect(parts).toHaveLength(32)
    const read = parts.flatMap(({ key, value }) =>
      pageEntries({ key: fromUtf8(key), text: () => fromUtf8(value) })
    )
    expect(new Map(read)).toEqual(new Map(state.entries()))
    expect(state.size).toBe(999)
    expect(state.takeWrites()).toEqual([])

    state.set('key-8', 'other')
    expect(state.takeWrites().map((one) => one.length)).toEqual([1])
  })

  it('makes transactions that a shard takes, and refuses more than it keeps', async () => {
    const state = new InstanceState('p/')
    for (let key = 0; key < 20_000; key++) state.set(`key-${key}`, 'x'.repeat(100))
    const transactions = state.takeWrites() as unknown as { value: Uint8Array }[][]
    expect(transactions.length).toBeGreaterThan(1)
    for (const parts of transactions) {
      const bytes = parts.reduce((sum, { value }) => sum + value.length, 0)
      expect(bytes).toBeLessThanOrEqual(256 * 1_024)
    }
    state.set('large', 'x'.repeat(300_000))
    expect(await codeOf(() => state.takeWrites())).toBe('too-large')
  })
})

describe('tuples', () => {
  it('come out as they went in, in halves, too', () => {
    const buffer = new TupleBuffer(4)
    const about = (root: number): { source: number; root: number; high: number; low: number } => ({
      source: 300,
      root,
      high: 0xffff_ffff,
      low: root
    })
    for (const root of [1, 2 ** 40, 3]) buffer.add({ root }, about(root))
    expect(buffer.isFull).toBe(false)
    const tuples = buffer.take()
    expect(buffer.count).toBe(0)
    expect(decodeMessage(encodeMessage(tuples))).toEqual(tuples)
    const [one, two] = halves(tuples)
    expect([...one.values, ...two.values]).toEqual(tuples.values)
    expect([...one.ids, ...two.ids]).toEqual([...tuples.ids])
    expect([...one.roots, ...two.roots]).toEqual([1, 2 ** 40, 3])
  })
})
