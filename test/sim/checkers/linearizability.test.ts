import { describe, expect, it } from 'vitest'
import { createRandom, pick } from '../../../src/base/random.ts'
import type { Random } from '../../../src/base/random.ts'
import { isLinearizable } from './brute-force.ts'
import type { Operation } from './history.ts'
import { checkLinearizable } from './linearizability.ts'
import type { Model } from './linearizability.ts'
import { lockModel } from './lock-model.ts'
import type { LockInput, LockOutput } from './lock-model.ts'
import { namesModel } from './names-model.ts'
import type { NamesInput, NamesOutput } from './names-model.ts'
import { registerModel } from './register-model.ts'
import type { RegisterInput, RegisterOutput } from './register-model.ts'
import { forEachChoice, historyOf, shapesOf } from './small-histories.ts'
import type { Told } from './small-histories.ts'

const wordOf = <Input, Output>(told: readonly Told<Input, Output>[]): string =>
  told.map(({ input, output }) => JSON.stringify([input, output])).join(' ')

/** Holds the checker against the definition, on every history of `count` of these operations. */
function compare<State, Input, Output>(
  model: Model<State, Input, Output>,
  items: readonly Told<Input, Output>[],
  { count, clientsMax }: { readonly count: number; readonly clientsMax: number }
): { good: number; bad: number } {
  const shapes = shapesOf(count, clientsMax)
  const sums = { good: 0, bad: 0 }
  forEachChoice(items, count, (told) => {
    for (const shape of shapes) {
      const history = historyOf(shape, told)
      const isGood = isLinearizable(model, history)
      const isFoundGood = checkLinearizable(model, history).kind === 'linearizable'
      sums[isGood ? 'good' : 'bad'] += 1
      if (isGood !== isFoundGood) {
        throw new Error(`${JSON.stringify(shape)} ${wordOf(told)} is ${isGood ? 'good' : 'bad'}`)
      }
    }
  })
  return sums
}

type RegisterTold = Told<RegisterInput, RegisterOutput>
const read = (value: string | null): RegisterTold => ({
  input: { kind: 'read' },
  output: { value }
})
const write = (value: string, output: RegisterOutput | undefined = {}): RegisterTold => ({
  input: { kind: 'write', value },
  output
})
const lost = ({ input }: RegisterTold): RegisterTold => ({ input, output: undefined })
const cas = (expected: string | null, value: string, isDone: boolean): RegisterTold => ({
  input: { kind: 'cas', expected, value },
  output: { isDone }
})
const remove = (isDone: boolean): RegisterTold => ({
  input: { kind: 'delete' },
  output: { isDone }
})

const REGISTER: readonly RegisterTold[] = [
  read(null),
  read('a'),
  read('b'),
  write('a'),
  write('b'),
  lost(write('a')),
  lost(write('b')),
  cas('a', 'b', true),
  cas('a', 'b', false),
  lost(cas('a', 'b', true)),
  cas(null, 'a', true),
  remove(true),
  remove(false),
  lost(remove(true))
]

describe('the checker says what the definition says', () => {
  it('has all shapes: 1, 3, 15 and 105 of up to four operations', () => {
    const counts = [1, 2, 3, 4].map((count) => shapesOf(count, 4).length)
    expect(counts).toEqual([1, 3, 15, 105])
  })

  it('of every history of three operations on a register', () => {
    const sums = compare(registerModel, REGISTER, { count: 3, clientsMax: 3 })
    expect(sums.good + sums.bad).toBe(14 ** 3 * 15)
    expect(Math.min(sums.good, sums.bad)).toBeGreaterThan(10_000)
  })

  it('of every history of four operations of a few kinds, by three clients', () => {
    const few = [read('a'), read('b'), lost(write('a')), lost(write('b')), cas('a', 'b', true)]
    const sums = compare(registerModel, few, { count: 4, clientsMax: 3 })
    expect(Math.min(sums.good, sums.bad)).toBeGreaterThan(10_000)
  })

  it('of every history of five operations by two clients', () => {
    const few = [read('a'), write('a'), lost(cas('a', 'b', true)), read('b')]
    const sums = compare(registerModel, few, { count: 5, clientsMax: 2 })
    expect(Math.min(sums.good, sums.bad)).toBeGreaterThan(1_000)
  })

  it('of every history of three writes and reads with versions', () => {
    const version = (value: string, of: number): RegisterTold => ({
      input: { kind: 'read' },
      output: { value, version: of }
    })
    const casVersion = (expected: number, isDone: boolean): RegisterTold => ({
      input: { kind: 'cas-version', expected, value: 'a' },
      output: isDone ? { isDone, version: 3 } : { isDone }
    })
    const items = [
      version('a', 1),
      version('a', 2),
      version('b', 2),
      write('a', { version: 1 }),
      write('b', { version: 2 }),
      lost(write('a')),
      casVersion(1, true),
      casVersion(2, false),
      casVersion(0, true),
      lost(casVersion(1, true))
    ]
    const sums = compare(registerModel, items, { count: 3, clientsMax: 3 })
    expect(Math.min(sums.good, sums.bad)).toBeGreaterThan(1_000)
  })

  it('of every history of three operations on a lock', () => {
    const by = (owner: string): Told<LockInput, LockOutput>[] => [
      { input: { kind: 'acquire', owner }, output: { token: 1 } },
      { input: { kind: 'acquire', owner }, output: { token: 2 } },
      { input: { kind: 'acquire', owner }, output: undefined },
      { input: { kind: 'try-acquire', owner }, output: { token: null } },
      { input: { kind: 'release', owner }, output: { isReleased: true } },
      { input: { kind: 'expire', owner }, output: undefined }
    ]
    const sums = compare(lockModel, [...by('x'), ...by('y')], { count: 3, clientsMax: 3 })
    expect(Math.min(sums.good, sums.bad)).toBeGreaterThan(3_000)
  })

  it('of every history of three operations on names', () => {
    const put = { kind: 'put', path: 'a', file: 'f', isReplacing: false } as const
    const replace = { kind: 'put', path: 'b', file: 'g', isReplacing: true } as const
    const move = { kind: 'mv', from: 'a', to: 'b' } as const
    const stat = { kind: 'stat', path: 'b' } as const
    const items: Told<NamesInput, NamesOutput>[] = [
      { input: put, output: { kind: 'done' } },
      { input: put, output: { kind: 'exists' } },
      { input: put, output: undefined },
      { input: replace, output: { kind: 'done' } },
      { input: move, output: { kind: 'done' } },
      { input: move, output: { kind: 'exists' } },
      { input: move, output: { kind: 'not-found' } },
      { input: move, output: undefined },
      { input: { kind: 'rm', path: 'b' }, output: { kind: 'done' } },
      { input: stat, output: { kind: 'file', file: 'f' } },
      { input: stat, output: { kind: 'not-found' } }
    ]
    const sums = compare(namesModel, items, { count: 3, clientsMax: 3 })
    expect(Math.min(sums.good, sums.bad)).toBeGreaterThan(3_000)
  })
})

describe('operations that nobody knows of', () => {
  const put = (file: string): Told<NamesInput, NamesOutput> => ({
    input: { kind: 'put', path: 'a', file, isReplacing: true },
    output: undefined
  })
  const stat = (file: string): Told<NamesInput, NamesOutput> => ({
    input: { kind: 'stat', path: 'a' },
    output: { kind: 'file', file }
  })

  it('are good if any choice of them explains the rest', () => {
    // Putting f and then g shows g too, but then no f is left to be put after it.
    const told = [put('f'), put('g'), stat('g'), stat('f')]
    const shape = told.map((_, index) => ({ call: 2 * index, return: 2 * index + 1 }))
    expect(checkLinearizable(namesModel, historyOf(shape, told)).kind).toBe('linearizable')
  })

  it('make of every history of a few what the definition says', () => {
    const few = [put('f'), put('g'), stat('f'), stat('g')]
    const four = compare(namesModel, few, { count: 4, clientsMax: 3 })
    expect(Math.min(four.good, four.bad)).toBeGreaterThan(3_000)
    const more = [...few, put('h')]
    const five = compare(namesModel, more, { count: 6, clientsMax: 1 })
    expect(Math.min(five.good, five.bad)).toBeGreaterThan(200)
  })
})

/** What a right register tells some clients; `lossPercent` of its answers don't arrive. */
function simulate(random: Random, size: { count: number; clients: number; lossPercent: number }) {
  const operations: Operation<RegisterInput, RegisterOutput>[] = []
  const state = new Map<string, { value: string | null; version: number }>()
  type Open = { call: number; input: RegisterInput; output?: RegisterOutput }
  const open: (Open | undefined)[] = Array.from({ length: size.clients }, () => undefined)
  let event = 0
  while (operations.length < size.count) {
    const client = random.below(size.clients)
    const now = open[client]
    event += 1
    if (now === undefined) {
      open[client] = { call: event, input: randomInput(random) }
    } else if (now.output === undefined) {
      now.output = perform(state, now.input)
    } else {
      const isLost = random.below(100) < size.lossPercent
      operations.push({
        id: operations.length + 1,
        client: `c${client}`,
        key: 'x',
        input: now.input,
        output: isLost ? undefined : now.output,
        call: now.call,
        return: isLost ? Number.POSITIVE_INFINITY : event
      })
      open[client] = undefined
    }
  }
  // What is under way at the end may have been done.
  for (const now of open) {
    if (now === undefined) continue
    const { call, input } = now
    const id = operations.length + 1
    const span = { call, return: Number.POSITIVE_INFINITY }
    operations.push({ id, client: `c${id}`, key: 'x', input, output: undefined, ...span })
  }
  return operations
}

function randomInput(random: Random): RegisterInput {
  const value = pick(random, ['a', 'b', 'c', 'd', 'e'])
  return pick<RegisterInput>(random, [
    { kind: 'read' },
    { kind: 'read' },
    { kind: 'write', value: `${value}${random.below(100)}` },
    { kind: 'cas', expected: null, value },
    { kind: 'cas', expected: value, value: 'z' },
    { kind: 'delete' }
  ])
}

function perform(
  state: Map<string, { value: string | null; version: number }>,
  input: RegisterInput
): RegisterOutput {
  const { value, version } = state.get('x') ?? { value: null, version: 0 }
  const set = (to: string | null): RegisterOutput => {
    state.set('x', { value: to, version: version + 2 })
    return { isDone: true, version: version + 2 }
  }
  if (input.kind === 'read') return value === null ? { value } : { value, version }
  if (input.kind === 'write') return { version: set(input.value).version as number }
  if (input.kind === 'delete') return value === null ? { isDone: false } : set(null)
  if (input.kind === 'cas') return value === input.expected ? set(input.value) : { isDone: false }
  throw new Error('It is not in these histories')
}

describe('long histories', () => {
  it('of a right register are found right, with lost answers too', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const random = createRandom(seed)
      const size = { count: 1_000, clients: 1 + random.below(10), lossPercent: random.below(3) }
      const history = simulate(random, size)
      expect(checkLinearizable(registerModel, history).kind, `seed ${seed}`).toBe('linearizable')
    }
  })

  it('with one wrong answer are found wrong, and told readably', () => {
    let found = 0
    for (let seed = 1; seed <= 20; seed++) {
      const random = createRandom(seed)
      const history = simulate(random, { count: 500, clients: 5, lossPercent: 1 })
      const reads = history.filter(({ input, output }) => input.kind === 'read' && output?.value)
      const victim = pick(random, reads)
      const stale = { ...victim, output: { value: 'never written' } }
      const broken = history.map((operation) => (operation === victim ? stale : operation))
      const verdict = checkLinearizable(registerModel, broken)
      if (verdict.kind !== 'violation') throw new Error(`Seed ${seed} is ${verdict.kind}`)
      found += 1
      expect(verdict.text).toContain(`${victim.id} by ${victim.client}: read → `)
    }
    expect(found).toBe(20)
  })

  it('with a write that was lost after it was acknowledged are found wrong', () => {
    const told = [write('a'), write('b'), read('a')]
    const shape = [0, 2, 4].map((call) => ({ call, return: call + 1 }))
    const verdict = checkLinearizable(registerModel, historyOf(shape, told))
    expect(verdict).toEqual({
      kind: 'violation',
      key: 'k',
      text: [
        'No order explains all that was told until 3 by c3: read → {"value":"a"}',
        'One that comes as far as that ends with',
        '  1 by c1: write "a" → {}',
        '  2 by c2: write "b" → {}',
        'and leaves "b" of version ≥ 2',
        'Nothing ran beside it'
      ].join('\n')
    })
  })

  it('are told of by the first return that nothing explains, and what ran beside it', () => {
    const told = [write('a'), read('b'), read('a'), lost(write('c')), read('a')]
    const shape = [
      { call: 0, return: 1 },
      { call: 2, return: 5 },
      { call: 3, return: 4 },
      { call: 4.5, return: 0 },
      { call: 6, return: 7 }
    ]
    const verdict = checkLinearizable(registerModel, historyOf(shape, told))
    if (verdict.kind !== 'violation') throw new Error('It is found right')
    expect(verdict.text).toContain('until 2 by c2: read → {"value":"b"}')
    expect(verdict.text).toContain('Beside it ran\n  3 by c3')
    expect(verdict.text).toContain('4 by c4: write "c" → nobody knows')
    expect(verdict.text).not.toContain('5 by c5')
  })

  it('are checked key by key', () => {
    const good = historyOf([{ call: 0, return: 1 }], [write('a')])
    const [bad] = historyOf([{ call: 2, return: 3 }], [read('b')])
    const other = { ...(bad as (typeof good)[number]), key: 'other' }
    expect(checkLinearizable(registerModel, [...good, other])).toMatchObject({ key: 'other' })
    // The write is of another key.
    const mixed = [...good, { ...other, output: { value: 'a' } }]
    expect(checkLinearizable(registerModel, mixed).kind).toBe('violation')
  })

  it('are bounded, and what takes too long is undecided', () => {
    const shape = Array.from({ length: 2_001 }, (_, index) => ({
      call: 2 * index,
      return: 2 * index + 1
    }))
    const told = shape.map(() => write('a'))
    expect(() => checkLinearizable(registerModel, historyOf(shape, told))).toThrow('at most 2000')
    const many = historyOf(shape.slice(0, 500), told)
    expect(checkLinearizable(registerModel, many, 100).kind).toBe('undecided')
    expect(checkLinearizable(registerModel, many).kind).toBe('linearizable')
  })

  it('of writes by twenty clients at once don’t take long when they are right', () => {
    const random = createRandom(7)
    const history = simulate(random, { count: 300, clients: 20, lossPercent: 0 })
    expect(checkLinearizable(registerModel, history).kind).toBe('linearizable')
  })
})
