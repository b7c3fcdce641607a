import { expect, it } from 'vitest'
import { resolveOptions } from '../../src/node/options.ts'

it.each([1, 32, 256])('a mesh may be made with %i shards', (shards) => {
  expect(resolveOptions({ dataDir: 'data', shards }).shards).toBe(shards)
})

it.each([0, -1, 1.5, Number.NaN, 257])('a mesh of %d shards is refused', (shards) => {
  expect(() => resolveOptions({ dataDir: 'data', shards })).toThrow(
    expect.objectContaining({ code: 'invalid-argument', message: expect.stringContaining('256') })
  )
})
