// The house rules that a machine can check: layers, sizes, names, dead files, and that no rule of a
// protocol is without a test or a comment that refers to it.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Folder of src → folders that its files may import, besides itself. */
const LAYERS: Readonly<Record<string, readonly string[]>> = (() => {
  const base: string[] = []
  const core = ['base']
  const wire = ['core', ...core]
  const storage = ['wire', ...wire]
  const net = ['wire', ...wire]
  const executor = ['wire', ...wire]
  const mesh = ['storage', 'net', ...net]
  const blocks = ['mesh', ...mesh]
  const shard = ['mesh', ...mesh]
  const services = ['blocks', 'shard', 'executor', ...blocks]
  const node = ['services', ...services]
  const api = ['node', ...node]
  const testing = ['node', ...node]
  const below = { base, core, wire, storage, net, executor, mesh, blocks, shard }
  return { ...below, services, node, api, testing }
})()

/** Cores that others stand on. */
const CORES_BELOW: Readonly<Record<string, readonly string[]>> = {
  groups: ['machine', 'raft', 'ring']
}

/** These import no package and nothing of Node.js. */
const PURE = ['base', 'core']

const LIBP2P = /^(?:libp2p$|@libp2p\/|@multiformats\/)/
/** Files outside src/net/libp2p that import libp2p. May only shrink. */
const LIBP2P_EXCEPTIONS: readonly string[] = []

/** The parts that touch the world, and the only folders that may build them. */
const REAL_PARTS = ['src/storage/file/', 'src/net/libp2p/', 'src/executor/process/']
const BUILDERS = ['src/node/', 'src/api/', 'src/testing/', ...REAL_PARTS]

const LINES_MAX = 300
/** Files over the limit and what they may have at most. May only shrink. */
const LINES_EXCEPTIONS: Readonly<Record<string, number>> = {
  'src/mesh/mesh.ts': 325
}

const BANNED_NAMES = ['utils', 'util', 'helpers', 'helper', 'common', 'misc', 'types']

/** What a program can start from: the library, its test kit and the command. */
const ENTRY_POINTS = [
  'src/index.ts',
  'src/testing/index.ts',
  'src/api/cli/main.ts',
  // Until the layer that drives it is there.
  'src/core/raft/raft.ts',
  'src/core/raft/memory-storage.ts',
  'src/core/groups/preferred-leaders.ts',
  'src/core/machine/machine.ts',
  'src/core/machine/machine-time.ts',
  'src/core/machine/memory-state.ts',
  'src/core/machine/snapshot.ts',
  'src/core/jobs/board.ts',
  'src/core/jobs/choose-job.ts',
  'src/core/jobs/grant-size.ts',
  'src/core/jobs/requirements.ts',
  'src/wire/raft.ts',
  'src/wire/job.ts',
  'src/services/compute/manifest.ts',
  'src/services/compute/spec.ts',
  'src/storage/file/log/file-log-store.ts',
  'src/storage/memory/memory-log-store.ts',
  'src/storage/memory/memory-state-store.ts',
  'src/storage/file/state/file-state-store.ts',
  'src/executor/memory/memory-executor.ts',
  'src/executor/process/process-executor.ts',
  // What programs in bundles import in the place of the package.
  'src/services/compute/code/task-kit.ts',
  // What bundles are made with, by name.
  'src/services/topology/topology-of.ts',
  // Processes and threads of their own.
  'src/storage/file/state/check-state.ts',
  'src/executor/process/executor-child.ts',
  'src/executor/process/executor-thread.ts',
  'src/executor/process/exec-child.ts'
]
/**
 * Reachable from tests alone: checks that run after each step of a simulation, and schemas that a
 * codec written by hand is held to.
 */
const FOR_TESTS =
  /^src\/core\/[a-z-]+\/(?:[a-z]+-)?invariants\.ts$|^src\/wire\/generated\/(?:job|raft|shard)\//

const isGenerated = (path: string): boolean => path.startsWith('src/wire/generated/')

/** @returns paths of all files below a folder, from the root of the repository, with slashes. */
function filesUnder(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .toSorted()
}

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** `import … from`, `export … from`, `import '…'` and `import('…')`; over lines, of types too. */
const IMPORTS =
  /^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]/gm

function importsOf(path: string): string[] {
  return [...read(path).matchAll(IMPORTS)].map(
    ([, from, bare, dynamic]) => from ?? bare ?? dynamic ?? ''
  )
}

/** @returns the path of a relative import, from the root; undefined for a package. */
function targetOf(path: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined
  return join(dirname(path), specifier).replaceAll(sep, '/')
}

/** `base` for src/base/clock.ts, `index.ts` for src/index.ts. */
const folderOf = (path: string): string => path.split('/')[1] ?? ''

const isBase = (path: string | undefined): boolean => path?.startsWith('src/base/') === true

const sources = filesUnder('src', '.ts')
const tests = filesUnder('test', '.ts')
const edges = sources.flatMap((path) =>
  importsOf(path).map((specifier) => ({ path, specifier, target: targetOf(path, specifier) }))
)

describe('the checks themselves', () => {
  it('find files and imports', () => {
    expect(sources.length).toBeGreaterThan(100)
    expect(tests.length).toBeGreaterThan(20)
    expect(edges.length).toBeGreaterThan(500)
  })

  it('see every form of import', () => {
    const text = [
      "import a from './a'",
      "import type { B } from './b'",
      'import {',
      '  c,',
      '  type D',
      "} from './c'",
      "export { e } from './e'",
      "export type * from './f'",
      "import './g'",
      "const h = await import('./h')",
      "type I = import('./i').I"
    ].join('\n')
    const found = [...text.matchAll(IMPORTS)].map(
      ([, from, bare, dynamic]) => from ?? bare ?? dynamic
    )
    expect(found).toEqual('abcefghi'.split('').map((name) => `./${name}`))
  })

  it('resolve every relative import to a file', () => {
    const lost = edges.filter(
      ({ target }) => target !== undefined && !existsSync(join(ROOT, target))
    )
    expect(lost).toEqual([])
  })
})

describe('layers', () => {
  it('every folder of src has its place', () => {
    const folders = new Set(sources.map(folderOf).filter((name) => name !== 'index.ts'))
    expect([...folders].filter((name) => LAYERS[name] === undefined)).toEqual([])
  })

  it('imports go down only', () => {
    const wrong = edges.filter(({ path, target }) => {
      if (target === undefined || path === 'src/index.ts') return false
      const from = folderOf(path)
      const to = folderOf(target)
      return from !== to && LAYERS[from]?.includes(to) !== true
    })
    expect(wrong.map(({ path, specifier }) => `${path} imports ${specifier}`)).toEqual([])
  })

  it('base and core import no package and nothing of Node.js', () => {
    const wrong = edges.filter(
      ({ path, target }) => PURE.includes(folderOf(path)) && target === undefined
    )
    expect(wrong.map(({ path, specifier }) => `${path} imports ${specifier}`)).toEqual([])
  })

  it('a core imports base and itself, no other core but those that it puts together', () => {
    const wrong = edges.filter(({ path, target }) => {
      const own = /^src\/core\/([^/]+)\//.exec(path)?.[1]
      if (own === undefined || isBase(target)) return false
      const allowed = [own, ...(CORES_BELOW[own] ?? [])]
      return !allowed.some((core) => target?.startsWith(`src/core/${core}/`) === true)
    })
    expect(wrong.map(({ path, specifier }) => `${path} imports ${specifier}`)).toEqual([])
  })

  it('only src/net/libp2p imports libp2p', () => {
    const users = new Set(
      edges
        .filter(({ specifier }) => LIBP2P.test(specifier))
        .map(({ path }) => path)
        .filter((path) => !path.startsWith('src/net/libp2p/'))
    )
    expect([...users]).toEqual(LIBP2P_EXCEPTIONS)
  })

  it('only node, api and testing build what touches the disk and the network', () => {
    const wrong = edges.filter(
      ({ path, target }) =>
        REAL_PARTS.some((part) => target?.startsWith(part)) &&
        !BUILDERS.some((builder) => path.startsWith(builder))
    )
    expect(wrong.map(({ path, specifier }) => `${path} imports ${specifier}`)).toEqual([])
    const crossed = edges.filter(
      ({ path, target }) =>
        (path.startsWith('src/storage/') && target?.startsWith('src/net/')) ||
        (path.startsWith('src/net/') && target?.startsWith('src/storage/'))
    )
    expect(crossed).toEqual([])
  })

  it('modules of Node.js are imported by their prefix', () => {
    const bare = edges.filter(({ specifier }) =>
      /^(?:fs|path|os|net|http|crypto|stream|url|util|events|child_process)(?:\/|$)/.test(specifier)
    )
    expect(bare).toEqual([])
  })
})

describe('files', () => {
  it('of src have at most 300 lines, or no more than they had', () => {
    const long = sources
      .filter((path) => !isGenerated(path))
      .map((path) => ({ path, lines: read(path).split('\n').length - 1 }))
      .filter(({ path, lines }) => lines > (LINES_EXCEPTIONS[path] ?? LINES_MAX))
    expect(long).toEqual([])
  })

  it('that got short are off the list of exceptions', () => {
    const short = Object.keys(LINES_EXCEPTIONS).filter(
      (path) => !sources.includes(path) || read(path).split('\n').length - 1 <= LINES_MAX
    )
    expect(short).toEqual([])
  })

  it('have kebab-case names that say something', () => {
    const wrong = [...sources, ...tests]
      .filter((path) => !isGenerated(path))
      .filter((path) => {
        const names = path.split('/').slice(1)
        const last = (names.pop() as string).replace(/(?:\.test)?\.ts$/, '')
        return [...names, last].some(
          (name) => !/^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(name) || BANNED_NAMES.includes(name)
        )
      })
    expect(wrong).toEqual([])
  })

  it('of src export by name', () => {
    const wrong = sources.filter((path) => /^\s*export\s+default\b/m.test(read(path)))
    expect(wrong).toEqual([])
  })

  it('of src are reachable from an entry point', () => {
    const seen = new Set<string>()
    const waiting = [...ENTRY_POINTS]
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      if (seen.has(path)) continue
      seen.add(path)
      for (const edge of edges) {
        if (edge.path === path && edge.target !== undefined) waiting.push(edge.target)
      }
    }
    const dead = sources.filter((path) => !seen.has(path) && !FOR_TESTS.test(path))
    expect(dead).toEqual([])
    const checks = [...tests, ...sources.filter((path) => FOR_TESTS.test(path))]
    const imported = new Set(
      checks.flatMap((path) => importsOf(path).map((s) => targetOf(path, s)))
    )
    expect(
      sources.filter((path) => FOR_TESTS.test(path) && !seen.has(path) && !imported.has(path))
    ).toEqual([])
  })
})

describe('protocol rules', () => {
  const rules = filesUnder('protocols', '.md').flatMap((path) =>
    [...read(path).matchAll(/^- \*\*([A-Z])-(\d+)\*\*/gm)].map(([, letter = '', number = '']) => ({
      path,
      letter,
      number: Number(number),
      name: `${letter}-${number}`
    }))
  )

  it('are numbered from 1 without a gap, one letter to a document', () => {
    expect(rules.length).toBeGreaterThan(40)
    const byDocument = Map.groupBy(rules, ({ path }) => path)
    for (const [path, own] of byDocument) {
      expect([path, own.map(({ number }) => number)]).toEqual([
        path,
        own.map((_, index) => index + 1)
      ])
      expect(new Set(own.map(({ letter }) => letter)).size).toBe(1)
    }
    expect(new Set(rules.map(({ letter }) => letter)).size).toBe(byDocument.size)
  })

  it('are each referred to by a source or a test', () => {
    const referring = [...sources, ...tests].filter((path) => !isGenerated(path))
    const named = new Set(
      referring.flatMap((path) => [...read(path).matchAll(/\b[A-Z]-\d+\b/g)].map(([name]) => name))
    )
    expect(rules.filter(({ name }) => !named.has(name)).map(({ name }) => name)).toEqual([])
  })

  it('are all there that sources and tests refer to', () => {
    const known = new Set(rules.map(({ name }) => name))
    const letters = new Set(rules.map(({ letter }) => letter))
    const stray = [...sources, ...tests]
      .filter((path) => !isGenerated(path))
      .flatMap((path) =>
        [...read(path).matchAll(/\b([A-Z])-\d+\b/g)]
          .filter(([name, letter = '']) => letters.has(letter) && !known.has(name))
          .map(([name]) => `${path} refers to ${name}`)
      )
    expect(stray).toEqual([])
  })
})
