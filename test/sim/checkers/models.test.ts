// What the models hold to be right, each rule by a history that keeps it and one that breaks it.

import { describe, expect, it } from 'vitest'
import { checkLinearizable } from './linearizability.ts'
import type { Model } from './linearizability.ts'
import { lockModel, lockProblems } from './lock-model.ts'
import type { LockInput, LockOutput } from './lock-model.ts'
import { namesModel } from './names-model.ts'
import type { NamesInput, NamesOutput } from './names-model.ts'
import { registerModel } from './register-model.ts'
import type { RegisterInput, RegisterOutput } from './register-model.ts'
import { historyOf } from './small-histories.ts'

/** @returns whether operations one after another can have these outputs. */
function inTurn<State, Input, Output>(
  model: Model<State, Input, Output>,
  told: readonly (readonly [Input, Output | undefined])[]
): boolean {
  const shape = told.map((_, index) => ({ call: 2 * index, return: 2 * index + 1 }))
  const history = historyOf(
    shape,
    told.map(([input, output]) => ({ input, output }))
  )
  return checkLinearizable(model, history).kind === 'linearizable'
}

describe('a register', () => {
  type Turn = readonly [RegisterInput, RegisterOutput | undefined]
  const holds = (...told: Turn[]): boolean => inTurn(registerModel, told)
  const write = (value: string, version?: number): Turn => [
    { kind: 'write', value },
    version === undefined ? {} : { version }
  ]
  const read = (value: string | null, version?: number): Turn => [
    { kind: 'read' },
    version === undefined ? { value } : { value, version }
  ]
  const compare = (expected: number, isDone: boolean, version?: number): Turn => [
    { kind: 'cas-version', expected, value: 'new' },
    version === undefined ? { isDone } : { isDone, version }
  ]

  it('gives writes versions that only grow, over deletes too', () => {
    expect(holds(write('a', 3), write('b', 9), read('b', 9))).toBe(true)
    expect(holds(write('a', 3), write('b', 3))).toBe(false)
    const remove: Turn = [{ kind: 'delete' }, { isDone: true, version: 5 }]
    expect(holds(write('a', 3), remove, read(null), write('a', 6))).toBe(true)
    expect(holds(write('a', 3), remove, write('a', 4))).toBe(false)
  })

  it('is read with the version of its last write', () => {
    expect(holds(write('a', 3), write('a', 5), read('a', 3))).toBe(false)
    expect(holds(write('a', 3), write('a', 5), read('a', 5))).toBe(true)
  })

  it('of a version that nobody was told is read with any that fits, and then keeps it', () => {
    expect(holds(write('a', 3), write('b'), read('b', 3))).toBe(false)
    expect(holds(write('a', 3), write('b'), read('b', 4), read('b', 4))).toBe(true)
    expect(holds(write('a', 3), write('b'), read('b', 4), read('b', 5))).toBe(false)
    expect(holds(write('a', 3), write('b'), read('b', 7), write('c', 7))).toBe(false)
  })

  it('is compared by version; 0 means that it isn’t there', () => {
    expect(holds(compare(0, true, 2), compare(2, true, 4), read('new', 4))).toBe(true)
    expect(holds(write('a', 3), compare(0, true, 4))).toBe(false)
    expect(holds(write('a', 3), compare(2, true, 4))).toBe(false)
    expect(holds(write('a', 3), compare(3, false))).toBe(false)
    expect(holds(write('a', 3), compare(2, false), read('a', 3))).toBe(true)
    expect(holds(compare(0, false))).toBe(false)
    // What version the write has nobody was told: both may be.
    expect(holds(write('a'), compare(5, true, 6), read('new', 6))).toBe(true)
    expect(holds(write('a'), compare(5, false), read('a'))).toBe(true)
    expect(holds(write('a', 3), write('b'), compare(3, true, 9))).toBe(false)
  })

  it('is written by an operation that nobody knows of at any time after its call, or never', () => {
    const lost: Turn = [{ kind: 'write', value: 'b' }, undefined]
    expect(holds(write('a'), lost, read('a'), read('b'))).toBe(true)
    expect(holds(write('a'), lost, read('a'), read('a'))).toBe(true)
    expect(holds(write('a'), lost, read('b'), read('a'))).toBe(false)
    expect(holds(write('a'), read('b'), lost)).toBe(false)
  })
})

describe('a lock', () => {
  type Turn = readonly [LockInput, LockOutput | undefined]
  const holds = (...told: Turn[]): boolean => inTurn(lockModel, told)
  const acquire = (owner: string, token: number): Turn => [{ kind: 'acquire', owner }, { token }]
  const attempt = (owner: string, token: number | null): Turn => [
    { kind: 'try-acquire', owner },
    { token }
  ]
  const release = (owner: string, isReleased = true): Turn => [
    { kind: 'release', owner },
    { isReleased }
  ]
  const expire = (owner: string): Turn => [{ kind: 'expire', owner }, undefined]

  it('has one holder', () => {
    expect(holds(acquire('x', 1), release('x'), acquire('y', 2))).toBe(true)
    expect(holds(acquire('x', 1), acquire('y', 2))).toBe(false)
    expect(holds(acquire('x', 1), attempt('y', null), attempt('x', 1))).toBe(true)
    expect(holds(attempt('y', null))).toBe(false)
    expect(holds(acquire('x', 1), attempt('y', 2))).toBe(false)
  })

  it('has another when the lease of the first may have run out', () => {
    expect(holds(acquire('x', 1), expire('x'), acquire('y', 2))).toBe(true)
    expect(holds(acquire('x', 1), expire('x'), release('x'))).toBe(true)
    expect(holds(acquire('x', 1), expire('x'), acquire('y', 2), release('x'))).toBe(false)
    expect(holds(acquire('x', 1), expire('x'), acquire('y', 2), release('x', false))).toBe(true)
    expect(holds(acquire('x', 1), acquire('y', 2), expire('x'))).toBe(false)
  })

  it('gives tokens that only grow', () => {
    expect(holds(acquire('x', 5), release('x'), acquire('y', 5))).toBe(false)
    expect(holds(acquire('x', 5), release('x'), acquire('y', 4))).toBe(false)
    expect(holds(acquire('x', 5), release('x'), acquire('y', 60))).toBe(true)
  })

  it('may be held by one who was never told', () => {
    const lost: Turn = [{ kind: 'acquire', owner: 'x' }, undefined]
    expect(holds(lost, attempt('y', null))).toBe(true)
    expect(holds(lost, attempt('y', 1))).toBe(true)
    expect(holds(lost, attempt('y', null), attempt('y', 1))).toBe(false)
    // Its token was at least 1.
    expect(holds(lost, attempt('y', null), expire('x'), attempt('y', 1))).toBe(false)
    expect(holds(lost, attempt('y', null), expire('x'), attempt('y', 2))).toBe(true)
  })
})

describe('lockProblems()', () => {
  type Grant = { owner: string; token: number; from: number; until: number; key?: string }
  const problems = (...grants: Grant[]): string[] =>
    lockProblems(
      grants.map(({ owner, token, from, until, key = 'l' }, index) => ({
        id: index + 1,
        client: owner,
        key,
        input: { kind: 'held', owner, token, fromMs: from, untilMs: until } as const,
        output: {},
        call: 0,
        return: 1
      }))
    )

  it('finds two holders at one time, by what they stamped', () => {
    const first = { owner: 'x', token: 1, from: 100, until: 200 }
    expect(problems(first, { owner: 'y', token: 2, from: 200, until: 250 })).toEqual([])
    expect(problems(first, { owner: 'y', token: 2, from: 150, until: 250 })).toEqual([
      'Lock "l": x (token 1) and y (token 2) hold it from 150 to 200 ms'
    ])
    const elsewhere = { owner: 'y', token: 2, from: 150, until: 250, key: 'm' }
    expect(problems(first, elsewhere)).toEqual([])
  })

  it('finds a token that was given twice', () => {
    const first = { owner: 'x', token: 1, from: 100, until: 200 }
    expect(problems(first, { owner: 'y', token: 1, from: 300, until: 400 })).toEqual([
      'Lock "l": x (token 1) and y (token 1) have the same token'
    ])
    expect(problems(first, { ...first, from: 150 })).toEqual([])
  })
})

describe('the names of a volume', () => {
  type Turn = readonly [NamesInput, NamesOutput | undefined]
  const holds = (...told: Turn[]): boolean => inTurn(namesModel, told)
  const put = (path: string, file: string, kind: 'done' | 'exists' = 'done'): Turn => [
    { kind: 'put', path, file, isReplacing: false },
    { kind }
  ]
  const move = (from: string, to: string, kind: 'done' | 'exists' | 'not-found' = 'done'): Turn => [
    { kind: 'mv', from, to },
    { kind }
  ]
  const stat = (path: string, file?: string): Turn => [
    { kind: 'stat', path },
    file === undefined ? { kind: 'not-found' } : { kind: 'file', file }
  ]

  it('are taken once, unless they may be replaced', () => {
    expect(holds(put('a', 'f'), put('a', 'g', 'exists'), stat('a', 'f'))).toBe(true)
    expect(holds(put('a', 'f'), put('a', 'g'))).toBe(false)
    const replace: Turn = [
      { kind: 'put', path: 'a', file: 'g', isReplacing: true },
      { kind: 'done' }
    ]
    expect(holds(put('a', 'f'), replace, stat('a', 'g'))).toBe(true)
    expect(holds(put('a', 'f'), replace, stat('a', 'f'))).toBe(false)
  })

  it('are moved at once: never two, never none', () => {
    expect(holds(put('a', 'f'), move('a', 'b'), stat('a'), stat('b', 'f'))).toBe(true)
    expect(holds(put('a', 'f'), move('a', 'b'), stat('a', 'f'))).toBe(false)
    expect(holds(put('a', 'f'), move('a', 'b'), stat('b'))).toBe(false)
    const lost: Turn = [{ kind: 'mv', from: 'a', to: 'b' }, undefined]
    expect(holds(put('a', 'f'), lost, stat('b', 'f'), stat('a'))).toBe(true)
    expect(holds(put('a', 'f'), lost, stat('b', 'f'), stat('a', 'f'))).toBe(false)
    expect(holds(put('a', 'f'), lost, stat('a'), stat('b'))).toBe(false)
  })

  it('are not moved over others, nor from nowhere', () => {
    expect(holds(put('a', 'f'), put('b', 'g'), move('a', 'b', 'exists'))).toBe(true)
    expect(holds(put('a', 'f'), put('b', 'g'), move('a', 'b'))).toBe(false)
    expect(holds(move('a', 'b', 'not-found'))).toBe(true)
    expect(holds(put('a', 'f'), move('a', 'a'), stat('a', 'f'))).toBe(true)
  })

  it('are removed', () => {
    const remove: Turn = [{ kind: 'rm', path: 'a' }, { kind: 'done' }]
    const refused: Turn = [{ kind: 'rm', path: 'a' }, { kind: 'not-found' }]
    expect(holds(put('a', 'f'), remove, stat('a'), refused)).toBe(true)
    expect(holds(put('a', 'f'), remove, remove)).toBe(false)
  })
})
