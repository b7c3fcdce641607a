// Names against a model of a file system that anybody can check by reading: nested maps.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromUtf8 } from '../../../src/base/bytes.ts'
import { codeOf } from './shard.ts'
import { Volume } from './volume.ts'

type Directory = Map<string, Directory | number>
type Found = Directory | number | undefined

/** Files are numbers: their contents. */
class Model {
  root: Directory | undefined

  mkdir(path: string[]): string | undefined {
    let here = this.root ?? new Map<string, Directory | number>()
    const made: [Directory, string, Directory][] = []
    for (const [index, name] of path.entries()) {
      const there = here.get(name)
      if (typeof there === 'number') return index === path.length - 1 ? 'exists' : 'not-a-directory'
      const next: Directory = there ?? new Map()
      if (there === undefined) made.push([here, name, next])
      here = next
    }
    this.root ??= path.length === 0 ? here : made[0]?.[0]
    for (const [parent, name, directory] of made) parent.set(name, directory)
    return undefined
  }

  put(path: string[], content: number, replace: boolean): string | undefined {
    if (path.length === 0) return 'is-a-directory'
    if (this.root === undefined && path.length > 1) return 'not-found'
    this.root ??= new Map()
    const parent = this.parent(path)
    if (typeof parent === 'string') return parent
    const there = parent.get(path.at(-1) as string)
    if (there instanceof Map) return 'is-a-directory'
    if (there !== undefined && !replace) return 'exists'
    parent.set(path.at(-1) as string, content)
    return undefined
  }

  mv(from: string[], to: string[], replace: boolean): string | undefined {
    if (from.length === 0) return 'invalid-argument'
    const parent = this.parent(from)
    if (typeof parent === 'string') return parent
    const moved = parent.get(from.at(-1) as string)
    if (moved === undefined) return 'not-found'
    if (to.length === 0) return 'exists'
    const target = this.parent(to)
    if (typeof target === 'string') return target
    const isInside = from.every((name, index) => to[index] === name) && to.length > from.length
    if (moved instanceof Map && isInside) return 'invalid-argument'
    if (from.join('/') === to.join('/')) return undefined
    const there = target.get(to.at(-1) as string)
    if (there !== undefined) {
      if (!replace) return 'exists'
      if (typeof there === 'number' && moved instanceof Map) return 'not-a-directory'
      if (there instanceof Map && there.size > 0) return 'not-empty'
      if (there instanceof Map && typeof moved === 'number') return 'is-a-directory'
    }
    parent.delete(from.at(-1) as string)
    target.set(to.at(-1) as string, moved)
    return undefined
  }

  rm(path: string[], recursive: boolean): string | undefined {
    const found = this.find(path)
    if (typeof found === 'string') return found
    if (found instanceof Map && found.size > 0 && !recursive) return 'not-empty'
    if (path.length === 0) this.root = undefined
    else (this.parent(path) as Directory).delete(path.at(-1) as string)
    return undefined
  }

  find(path: string[]): Directory | number | string {
    if (this.root === undefined) return 'not-found'
    if (path.length === 0) return this.root
    const parent = this.parent(path)
    return typeof parent === 'string' ? parent : (parent.get(path.at(-1) as string) ?? 'not-found')
  }

  parent(path: string[]): Directory | string {
    let here: Found = this.root
    if (here === undefined) return 'not-found'
    for (const name of path.slice(0, -1)) {
      here = here.get(name)
      if (here === undefined) return 'not-found'
      if (typeof here === 'number') return 'not-a-directory'
    }
    return here
  }
}

/** The whole tree as text, of either. */
function treeOfModel(directory: Directory, indent = ''): string[] {
  return [...directory.keys()].toSorted().flatMap((name) => {
    const entry = directory.get(name) as Directory | number
    if (typeof entry === 'number') return [`${indent}${name}=${entry}`]
    return [`${indent}${name}/`, ...treeOfModel(entry, `${indent} `)]
  })
}

function treeOf(volume: Volume, path = '', indent = ''): string[] {
  return volume.page(path).entries.flatMap(({ name, entry }) => {
    const text = fromUtf8(name)
    if (entry.kind === 'file') return [`${indent}${text}=${entry.newest.bytes / 10}`]
    const inside = path === '' ? text : `${path}/${text}`
    return [`${indent}${text}/`, ...treeOf(volume, inside, `${indent} `)]
  })
}

const below: fc.Arbitrary<string[]> = fc.array(fc.constantFrom('a', 'b'), {
  minLength: 1,
  maxLength: 4
})
const path = fc.oneof(
  { weight: 15, arbitrary: below },
  { weight: 1, arbitrary: fc.constant<string[]>([]) }
)
const step = fc.oneof(
  fc.record({ kind: fc.constant('mkdir' as const), path }),
  fc.record({
    kind: fc.constant('put' as const),
    path,
    replace: fc.boolean(),
    content: fc.nat(99)
  }),
  fc.record({ kind: fc.constant('mv' as const), path, to: path, replace: fc.boolean() }),
  fc.record({ kind: fc.constant('rm' as const), path, recursive: fc.boolean() }),
  fc.record({ kind: fc.constant('reap' as const), limit: fc.integer({ min: 1, max: 4 }) })
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function run(volume: Volume, model: Model, step: Step): void {
  const at = step.kind === 'reap' ? '' : step.path.join('/')
  switch (step.kind) {
    case 'mkdir':
      expect(codeOf(() => volume.mkdir(at))).toBe(model.mkdir(step.path))
      return
    case 'put': {
      const mode = step.replace ? 'replace' : 'create'
      const expected = model.put(step.path, step.content, step.replace)
      expect(codeOf(() => volume.put(at, step.content, { mode }))).toBe(expected)
      return
    }
    case 'mv': {
      const expected = model.mv(step.path, step.to, step.replace)
      expect(codeOf(() => volume.mv(at, step.to.join('/'), step.replace))).toBe(expected)
      return
    }
    case 'rm':
      expect(codeOf(() => volume.rm(at, step.recursive))).toBe(model.rm(step.path, step.recursive))
      return
    case 'reap':
      volume.reap(step.limit)
  }
}

describe('names of a volume', () => {
  it('are those of a file system of maps, whatever is done', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        const volume = new Volume()
        const model = new Model()
        for (const next of steps) {
          run(volume, model, next)
          volume.check()
        }
        if (model.root === undefined) expect(codeOf(() => volume.list(''))).toBe('not-found')
        else expect(treeOf(volume)).toEqual(treeOfModel(model.root))
      }),
      { numRuns: 300 }
    )
  })
})
