import { describe, expect, it } from 'vitest'
import { orderNodes } from '../../../src/services/compute/dag.ts'

describe('orderNodes()', () => {
  it('puts nodes after those that they build on', () => {
    const nodes = {
      d: { task: 'd', after: ['b', 'c'] },
      b: { task: 'b', after: ['a'] },
      c: { task: 'c', after: ['a', 'a'] },
      a: { task: 'a' }
    }
    const ordered = orderNodes(nodes)
    expect(ordered.map(({ name, stage }) => [name, stage.after])).toEqual([
      ['a', []],
      ['b', [0]],
      ['c', [0]],
      ['d', [1, 2]]
    ])
  })

  it.each([
    [{}, 'it has no nodes'],
    [{ a: { task: 1, after: ['x'] } }, '"a" comes after "x", and there is no such node'],
    [{ a: { task: 1, after: ['toString'] } }, '"toString", and there is no such node'],
    [{ a: { task: 1, after: ['b'] }, b: { task: 1, after: ['a'] } }, 'a → b → a is a circle']
  ])('refuses %j', (nodes, message) => {
    expect(() => orderNodes(nodes)).toThrow(message)
  })
})
