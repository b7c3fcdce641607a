import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { runInThisContext } from 'node:vm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromUtf8 } from '../../../../src/base/bytes.ts'
import type { Work } from '../../../../src/executor/executor.ts'
import { bundleFile } from '../../../../src/services/compute/code/bundle-file.ts'
import { codeOf } from '../../../../src/services/compute/code/code-of.ts'
import { freeVariables } from '../../../../src/services/compute/code/free-variables.ts'
import { mapReduceSource } from '../../../../src/services/compute/code/map-reduce-bundle.ts'
import { task, type TaskDefinition } from '../../../../src/services/compute/code/task.ts'
import { expectCode } from '../../../conformance/block-store.ts'
import { outputOf } from '../../../conformance/executor.ts'
import { LIMITS, sampleWork } from '../../../executor/sample-work.ts'
import { createExecutor, type TestExecutor } from '../../../executor/samples.ts'
import { double, ending, shout } from './samples/own-file.ts'

const SAMPLES = join(import.meta.dirname, 'samples')
/** Where a program lives that is no part of this repository. */
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'atoll-code-'))
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }')
})
afterAll(async () => {
  await rm(folder, { recursive: true })
})

async function write(name: string, source: string): Promise<string> {
  const path = join(folder, name)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, source)
  return path
}

const definition = <Input>(part: Partial<TaskDefinition<Input, unknown>>): never =>
  ({ name: 'sample', options: {}, file: undefined, ...part }) as never

/** A function with a text that no compiler has been at. */
function made(text: string): () => unknown {
  return runInThisContext(`(${text})`) as () => unknown
}

describe('freeVariables()', () => {
  it.each<[string, string[] | undefined]>([
    ['(a, { b = a, ...c }) => { let d = a + b; for (const e of c) d += e; return d }', []],
    ['async function self(n) { return n > 1 ? await self(n - 1) : fetch(URL, Buffer) }', []],
    ['(x) => x + y + z.w', ['y', 'z']],
    ['(x = outer) => x', ['outer']],
    ['() => { try { f() } catch { } finally { g() } }', ['f', 'g']],
    [
      '() => { class A extends B { static { C() } #p = D; [e]() {} } return new A() }',
      'BCDe'.split('')
    ],
    ['() => { label: for (;;) break label }', []],
    ['() => ({ a, b: 1, c: d }).b', ['a', 'd']],
    ['({ a: { b } }) => { const { c = b } = {}; return `${c}${later}`; var later }', []],
    ['() => typeof window === "undefined" ? 1 : window.x', []],
    ['() => typeof window', []],
    ['() => import("node:fs")', []],
    ['() => { leaked = 1 }', ['leaked']],
    ['function () { return arguments.length + new.target }', []],
    ['() => require("fs")', ['require']],
    ['() => __dirname', ['__dirname']],
    ['() => describe', ['describe']],
    ['() => __name(() => {}, "inner")', []],
    ['async () => { await using a = b() }', ['b']],
    ['method() { return 1 }', undefined],
    ['{ method() { return other } }', ['other']],
    ['1 +', undefined]
  ])('of %s', async (source, free) => {
    expect(await freeVariables(source)).toEqual(free)
  })

  it('knows nothing of what this program has put into the global object', async () => {
    Object.assign(globalThis, { ownGlobal: 1 })

    expect(await freeVariables('() => ownGlobal')).toEqual(['ownGlobal'])

    Reflect.deleteProperty(globalThis, 'ownGlobal')
  })
})

describe('codeOf()', () => {
  let sample: TestExecutor

  beforeAll(async () => {
    sample = await createExecutor()
    await sample.executor.start()
  })
  afterAll(async () => {
    await sample[Symbol.asyncDispose]()
  })

  /** Does what a worker would do. */
  async function run(given: TaskDefinition<never, unknown>, input?: unknown): Promise<unknown> {
    const { source, exportName } = await codeOf(given)
    const cid = `code${sample.codes.size}`
    sample.codes.set(cid, source)
    const code: Work['code'] = { kind: 'bundle', cid }
    const limits = { ...LIMITS, timeoutMs: 60_000 }
    return outputOf(await sample.executor.run(sampleWork(exportName, input, { code, limits })))
  }

  it('gives a function alone that uses nothing from around it', async () => {
    const add = task('add', (_, { a, b }: { a: number; b: number }) => a + b)

    expect(await run(add, { a: 1, b: 2 })).toBe(3)
    expect((await codeOf(add)).source.length).toBeLessThan(120)
  })

  it('gives functions of every form', async () => {
    const short = made('{ short(_, n) { return n + 1 } }.short')
    const computed = made('{ async ["a name"](_, n) { return n + 2 } }["a name"]')
    expect(await run(definition({ fn: short }), 1)).toBe(2)
    expect(await run(definition({ fn: computed }), 1)).toBe(3)
    const named = function inner(_: unknown, n: number): number {
      return n <= 0 ? 0 : n + inner(_, n - 1)
    }
    expect(await run(definition({ fn: named }), 3)).toBe(6)
    // As esbuild and tsx write functions within functions.
    const kept = made('(_, n) => { const f = /* @__PURE__ */ __name((x) => x, "f"); return f(n) }')
    expect(await run(definition({ fn: kept }), 4)).toBe(4)
  })

  it('gives the file of a function that uses what is around it, with what that imports', async () => {
    expect(await run(shout, 'hello')).toBe('hello!')
    expect(await run(double, [1, 2])).toEqual([2, 4])
    expect(await run(ending, 'a/b.txt')).toBe('.txt')
  })

  it('gives what the function itself imports, as its file sees it', async () => {
    await write('lib/three.ts', 'export const three: number = 3')
    const file = join(folder, 'program.ts')
    const fn = made('async () => (await import("./lib/three.ts")).three')
    const builtin = definition({
      fn: made('async () => (await import("node:path")).basename("/a/b")')
    })

    expect(await run(definition({ fn, file }))).toBe(3)
    expect(await run(builtin)).toBe('b')
    expect(fromUtf8((await codeOf(builtin)).source)).toMatch(/^const fn = async/)
  })

  it('refuses what needs more than itself and stands in the program that was started', async () => {
    const file = await write('main.ts', 'throw new Error("started")')
    await symlink(file, join(folder, 'link.ts'))
    const needy = definition({ fn: made('() => a + b'), file })
    const [, , ...rest] = process.argv
    const before = process.argv
    try {
      for (const main of [file, join(folder, 'main'), join(folder, 'link.ts')]) {
        process.argv = [process.execPath, main, ...rest]
        await expectCode(codeOf(needy), 'not-self-contained')
        await expect(codeOf(needy)).rejects.toThrow(/uses a, b from around it.*file of its own/)
      }
    } finally {
      process.argv = before
    }
    const homeless = definition({ fn: made('() => a') })
    await expectCode(codeOf(homeless), 'not-self-contained')
  })

  it('refuses what is no plain function', async () => {
    const aClass = made('class { static size = 1 }')
    const bound = made('function () { return this }.bind(1)')
    for (const fn of [aClass, Math.max, bound, 'text']) {
      await expectCode(codeOf(definition({ fn: fn as never })), 'invalid-argument')
    }
  })

  it('lets a file import of this package what a task can use', async () => {
    const file = await write(
      'kit.ts',
      `import { task, isMeshError, MeshError, compare } from 'atoll-mesh'
       export const kit = task('kit', () => {
         const error = new MeshError('conflict', 'no')
         return [isMeshError(error, 'conflict'), isMeshError(new Error('x')), compare.exists('a').kind]
       })`
    )
    const fn = made('() => outer')
    expect(await run(definition({ fn, file, name: 'kit' }))).toEqual([true, false, 'exists'])
    const { source } = await codeOf(definition({ fn, file, name: 'kit' }))
    expect(source.length).toBeLessThan(60_000)
    expect(fromUtf8(source)).not.toContain(process.cwd())
  })

  it('refuses a file that imports a whole node', async () => {
    const file = await write('node.ts', `import { createNode } from 'atoll-mesh'\ncreateNode()`)

    await expectCode(bundleFile(file), 'invalid-code')
    await expect(bundleFile(file)).rejects.toThrow(/not "createNode"; the mesh is in the context/)
  })

  it('bundles libraries in the older form of modules, without their native parts', async () => {
    await write(
      'node_modules/old/index.js',
      `exports.sep = require('path').sep; const fs = 'fs'; exports.fs = typeof require(fs).readFileSync`
    )
    await write('node_modules/native/build/native.node', 'no code')
    for (const name of ['old', 'native']) await write(`node_modules/${name}/package.json`, '{}')
    await write(
      'node_modules/native/index.js',
      `let native; try { native = require('./build/native.node') } catch (error) { exports.why = error.message }`
    )
    const file = await write(
      'uses-old.ts',
      `import { createRequire } from 'node:module'
       import { sep, fs } from 'old'
       import { why } from 'native'
       const require = createRequire(import.meta.url)
       export default () => ({ sep, fs, why, own: typeof require })`
    )
    const fn = made('() => outer')

    expect(await run(definition({ fn, file, name: 'default' }))).toEqual({
      sep: '/',
      fs: 'function',
      why: 'native has a native part, which does not travel with a task',
      own: 'function'
    })
  })

  it('tells what is wrong with a file', async () => {
    const file = await write('wrong.ts', `import './nowhere.ts'\nexport const x = 1`)

    await expectCode(bundleFile(file), 'invalid-code')
    await expect(bundleFile(file)).rejects.toThrow(/nowhere/)
    await expectCode(bundleFile(join(folder, 'absent.ts')), 'not-found')
    const large = await write('large.js', `export const text = '${'x'.repeat(17 * 2 ** 20)}'`)
    await expectCode(bundleFile(large), 'too-large')
  })

  it('gives the same bytes for the same source, wherever it stands', async () => {
    const copies = await Promise.all(
      ['one', 'two/deeper'].map(async (name) => {
        const copy = join(folder, 'copies', name)
        await cp(SAMPLES, join(copy, 'src'), { recursive: true })
        await writeFile(join(copy, 'package.json'), '{ "type": "module" }')
        await writeFile(
          join(copy, 'src', 'own-file.ts'),
          `import { task } from 'atoll-mesh'\nimport { twice } from './arithmetic.ts'
           export const t = task('t', (_, n: number) => twice(n))`
        )
        return await bundleFile(join(copy, 'src', 'own-file.ts'))
      })
    )
    const [one, two] = copies.map(({ source }) => fromUtf8(source))
    expect(one).toBe(two)
    expect(one).toContain('// src/arithmetic.ts')
    expect(copies[0]?.exports).toEqual(['t'])
    const again = await codeOf(shout)
    expect((await codeOf(shout)).source).toEqual(again.source)
  })

  it('gives what a file exports', async () => {
    const { exports } = await bundleFile(join(SAMPLES, 'word-count.ts'))

    expect(exports.toSorted()).toEqual(['map', 'reduce', 'size'])
  })

  it('gives the program of a map-reduce job, of functions in every form', async () => {
    const { source, exportName } = await mapReduceSource({
      map(line) {
        return [[line, 1]]
      },
      reduce: (_, values) => values.length
    })
    sample.codes.set('mapreduce', source)
    const code = { kind: 'bundle', cid: 'mapreduce' } as const
    const input = { kind: 'reduce', partition: 0, path: undefined }

    const result = await sample.executor.run(sampleWork(exportName, input, { code }))

    expect(outputOf(result)).toEqual({ keys: 0, bytes: 0, text: '' })
  })
})

describe('task()', () => {
  it('knows the file that it was called in', () => {
    expect(task('here', () => 1).file).toBe(import.meta.filename)
    expect(shout.file).toBe(join(SAMPLES, 'own-file.ts'))
  })

  it('refuses a name that is none, and two tasks of one name', () => {
    expect(() => task('not a name', () => 1)).toThrow(/is no name of a task/)
    const make = (n: number): unknown => task('same', n === 1 ? () => 1 : () => 2)
    make(1)
    make(1)
    expect(() => make(2)).toThrow(/two tasks "same"/)
  })
})
