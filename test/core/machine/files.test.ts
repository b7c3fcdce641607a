// What can be done to the names of a volume, one entry at a time.

import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { FILE_DEPTH_MAX, FILE_VERSIONS_MAX } from '../../../src/core/machine/limits.ts'
import { PIN, UNPIN } from '../../../src/core/machine/file-release.ts'
import { PUT } from '../../../src/core/machine/file-operations.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import { codeOf, Shard, text } from './shard.ts'
import { cidOf, namesOf, Volume } from './volume.ts'

describe('mkdir', () => {
  it('makes what is missing on the way, and is content with what is there', () => {
    const volume = new Volume()

    volume.mkdir('a/b/c')
    volume.mkdir('a/b')

    expect(volume.list('')).toEqual(['a/'])
    expect(volume.list('a/b')).toEqual(['c/'])
    volume.check()
  })

  it('without parents refuses what is there and what lacks a parent', () => {
    const volume = new Volume()

    expect(codeOf(() => volume.mkdir('a', false))).toBe('not-found')
    volume.mkdir('', false)
    expect(codeOf(() => volume.mkdir('', false))).toBe('exists')
    volume.mkdir('a', false)

    expect(codeOf(() => volume.mkdir('a', false))).toBe('exists')
    expect(codeOf(() => volume.mkdir('b/c', false))).toBe('not-found')
  })

  it('refuses a way through a file', () => {
    const volume = new Volume()
    volume.put('f')

    expect(codeOf(() => volume.mkdir('f'))).toBe('exists')
    expect(codeOf(() => volume.mkdir('f/a'))).toBe('not-a-directory')
    expect(codeOf(() => volume.put('f/a'))).toBe('not-a-directory')
    expect(codeOf(() => volume.stat('f/a'))).toBe('not-a-directory')
  })

  it('gives numbers that never come again', () => {
    const volume = new Volume()
    const seen = new Set<number>()
    for (let round = 0; round < 5; round++) {
      volume.mkdir('a/b/c')
      for (const path of ['', 'a', 'a/b', 'a/b/c']) {
        const entry = volume.stat(path)
        if (entry.kind === 'directory') seen.add(entry.inode)
      }
      volume.rm('', true)
    }

    expect(seen.size).toBe(20)
  })

  it('goes as deep as a path may be, and no deeper', () => {
    const volume = new Volume()
    const deepest = Array.from({ length: FILE_DEPTH_MAX }, () => 'd').join('/')

    volume.mkdir(deepest)

    expect(volume.list(deepest)).toEqual([])
    expect(codeOf(() => volume.mkdir(`${deepest}/d`))).toBe('too-large')
    volume.check()
  })
})

describe('put', () => {
  it('names a file, and says exists unless told to replace', () => {
    const volume = new Volume()
    volume.shard.nowMs = 500

    expect(volume.put('f', 7)).toBe(1)

    expect(volume.stat('f')).toMatchObject({
      kind: 'file',
      newest: { cid: cidOf(7), bytes: 70, version: 1, modifiedMs: 500 },
      earlier: []
    })
    expect(codeOf(() => volume.put('f', 8))).toBe('exists')
    expect(volume.put('f', 8, { mode: 'replace' })).toBe(2)
    expect(volume.stat('f')).toMatchObject({ newest: { cid: cidOf(8) }, earlier: [] })
  })

  it('keeps earlier versions when it appends, up to a bound', () => {
    const volume = new Volume()
    for (let version = 1; version <= FILE_VERSIONS_MAX + 3; version++) {
      expect(volume.put('f', version, { mode: 'append' })).toBe(version)
    }

    const entry = volume.stat('f')

    expect(entry.kind === 'file' && entry.earlier.map(({ version }) => version)).toEqual(
      Array.from({ length: FILE_VERSIONS_MAX - 1 }, (_, index) => FILE_VERSIONS_MAX + 2 - index)
    )
    expect(volume.collection.releases).toBe(3)
    volume.check()
  })

  it('asks for a version when it is told one', () => {
    const volume = new Volume()
    const at = (expectedVersion: number): string | undefined =>
      codeOf(() => volume.put('f', 1, { mode: 'append', expectedVersion }))

    expect([at(1), at(0), at(0), at(1)]).toEqual(['conflict', undefined, 'conflict', undefined])
  })

  it('refuses a directory, a volume and a directory that is not there', () => {
    const volume = new Volume()
    volume.mkdir('d')

    expect(codeOf(() => volume.put('d', 1, { mode: 'replace' }))).toBe('is-a-directory')
    expect(codeOf(() => volume.put('', 1))).toBe('is-a-directory')
    expect(codeOf(() => volume.put('x/f', 1))).toBe('not-found')
    expect(codeOf(() => new Volume().put('x/f', 1))).toBe('not-found')
    expect(codeOf(() => volume.put('f', 1, { cid: utf8('short') }))).toBe('invalid-argument')
  })

  it('takes a file of 0 bytes and of 2^53 - 1', () => {
    const volume = new Volume()

    volume.put('none', 1, { bytes: 0 })
    volume.put('huge', 1, { bytes: Number.MAX_SAFE_INTEGER })

    expect(volume.stat('none')).toMatchObject({ newest: { bytes: 0 } })
    expect(volume.stat('huge')).toMatchObject({ newest: { bytes: Number.MAX_SAFE_INTEGER } })
    expect(codeOf(() => volume.put('more', 1, { bytes: 2 ** 53 }))).toBe('invalid-argument')
  })

  it('refuses blocks that it touched two cycles ago', () => {
    const volume = new Volume()
    volume.cycle(1)
    const cycle = volume.collection.cycle
    volume.cycle(2)

    volume.put('a', 1, { cycle })
    volume.cycle(3)

    expect(codeOf(() => volume.put('b', 1, { cycle }))).toBe('conflict')
    expect(codeOf(() => volume.cycle(3))).toBe('conflict')
    expect(codeOf(() => volume.cycle(2))).toBe('conflict')
    expect(volume.collection.cycle).toBe(3)
  })
})

describe('names', () => {
  const refused: [string, Uint8Array, string][] = [
    ['..', utf8('..'), 'invalid-argument'],
    ['.', utf8('.'), 'invalid-argument'],
    ['an empty one', utf8(''), 'invalid-argument'],
    ['one with a NUL', utf8('a\0b'), 'invalid-argument'],
    ['one with a slash', utf8('a/b'), 'invalid-argument'],
    ['one that is no UTF-8', Uint8Array.of(0x66, 0xff), 'invalid-argument'],
    ['one that begins with a mark of byte order', utf8('\ufefff'), 'invalid-argument'],
    ['256 bytes', utf8('n'.repeat(256)), 'too-large'],
    ['4 KiB', utf8('n'.repeat(4_096)), 'too-large']
  ]
  it.each(refused)('refuse %s', (_, name, code) => {
    const volume = new Volume()
    const args = { cid: cidOf(1), bytes: 1, mode: 'create', expectedVersion: undefined } as const

    expect(codeOf(() => volume.shard.run(PUT, { ...args, names: [name], cycle: 0 }))).toBe(code)
    expect(
      codeOf(() => volume.shard.run(PUT, { ...args, names: [name, utf8('f')], cycle: 0 }))
    ).toBe(code)
    expect(volume.shard.machine.reads.meta.revision).toBe(0)
  })

  it('refuse a volume that is called so too', () => {
    for (const name of ['..', '.', 'a\0b', '\ufeffv']) {
      expect(
        codeOf(() => new Volume(name).mkdir('')),
        name
      ).toBe('invalid-argument')
    }
  })

  it('of 255 bytes, with three dots, spaces and in other scripts are names', () => {
    const volume = new Volume()
    const names = ['n'.repeat(255), '...', ' ', '日本語', '😀']

    for (const name of names) volume.put(name)

    expect(volume.list('').toSorted()).toEqual(names.toSorted())
  })

  it('that differ in case only stand beside each other', () => {
    const volume = new Volume()

    volume.put('Readme', 1)
    volume.put('README', 2)

    expect(volume.list('')).toEqual(['README', 'Readme'])
    expect(volume.stat('Readme')).toMatchObject({ newest: { cid: cidOf(1) } })
  })
})

describe('mv', () => {
  it('moves a directory with all that is in it as one entry', () => {
    const volume = new Volume()
    volume.mkdir('a/b')
    for (let index = 0; index < 50; index++) volume.put(`a/b/${index}`)
    const before = volume.shard.machine.reads.meta.revision

    volume.mv('a/b', 'c')

    const { entries } = volume.page('c')
    expect(entries).toHaveLength(50)
    expect(volume.list('a')).toEqual([])
    const query = { area: AREAS.file, from: utf8('vol/'), to: utf8('vol0'), revision: before + 1 }
    const [change] = volume.shard.machine.reads.changesSince(query).revisions
    expect(change?.events).toHaveLength(2)
    volume.check()
  })

  it('refuses to move a directory into itself or below', () => {
    const volume = new Volume()
    volume.mkdir('a/b')

    expect(codeOf(() => volume.mv('a', 'a/c'))).toBe('invalid-argument')
    expect(codeOf(() => volume.mv('a', 'a/b/c'))).toBe('invalid-argument')
    expect(codeOf(() => volume.mv('a', 'a/b', true))).toBe('invalid-argument')
    volume.mv('a', 'a')
    expect(volume.list('a')).toEqual(['b/'])
    expect(codeOf(() => volume.mv('', 'a/x'))).toBe('invalid-argument')
    expect(codeOf(() => volume.mv('a', '', true))).toBe('exists')
  })

  it('replaces only when told to, and only like by like', () => {
    const volume = new Volume()
    volume.put('f', 1)
    volume.put('g', 2)
    volume.mkdir('empty')
    volume.mkdir('full/x')
    volume.mkdir('other')

    expect(codeOf(() => volume.mv('f', 'g'))).toBe('exists')
    expect(codeOf(() => volume.mv('f', 'empty', true))).toBe('is-a-directory')
    expect(codeOf(() => volume.mv('empty', 'f', true))).toBe('not-a-directory')
    expect(codeOf(() => volume.mv('empty', 'full', true))).toBe('not-empty')
    expect(codeOf(() => volume.mv('full/x', 'full', true))).toBe('not-empty')
    expect(codeOf(() => volume.mv('nothing', 'g', true))).toBe('not-found')
    expect(codeOf(() => volume.mv('f', 'nothing/g', true))).toBe('not-found')
    volume.mv('f', 'g', true)
    volume.mv('full', 'empty', true)

    expect(volume.stat('g')).toMatchObject({ newest: { cid: cidOf(1) } })
    expect(volume.list('')).toEqual(['empty/', 'g', 'other/'])
    expect(volume.list('empty')).toEqual(['x/'])
    volume.check()
  })
})

describe('rm', () => {
  it('removes a file and an empty directory, and refuses a full one', () => {
    const volume = new Volume()
    volume.put('f')
    volume.mkdir('d/e')

    volume.rm('f')
    expect(codeOf(() => volume.rm('f'))).toBe('not-found')
    expect(codeOf(() => volume.rm('d'))).toBe('not-empty')
    expect(codeOf(() => volume.rm(''))).toBe('not-empty')
    volume.rm('d/e')
    volume.rm('d')
    volume.rm('')

    expect(codeOf(() => volume.list(''))).toBe('not-found')
    expect(volume.collection.releases).toBe(1)
  })

  it('unlinks a tree at once and gives it back in bounded steps', () => {
    const volume = new Volume()
    for (let directory = 0; directory < 5; directory++) {
      volume.mkdir(`t/${directory}/deep`)
      for (let file = 0; file < 7; file++) volume.put(`t/${directory}/deep/${file}`)
    }

    volume.rm('t', true)

    expect(volume.collection.releases).toBe(1)
    expect(volume.list('')).toEqual([])
    expect(codeOf(() => volume.stat('t/1/deep/1'))).toBe('not-found')
    volume.mkdir('t')
    expect(volume.list('t')).toEqual([])
    let steps = 1
    for (; volume.reap(5); steps++) volume.check()
    volume.check()
    expect(steps).toBeGreaterThan(8)
    const { entries } = volume.shard.machine.reads.scan({ area: AREAS.file })
    expect(entries).toHaveLength(1)
    expect(volume.shard.machine.reads.scan({ area: AREAS['file-trash'] }).entries).toEqual([])
    expect(volume.reap(5)).toBe(false)
    expect(codeOf(() => volume.reap(0))).toBe('invalid-argument')
    expect(codeOf(() => volume.reap(1_001))).toBe('invalid-argument')
  })

  it('works when the quota is used up', () => {
    const volume = new Volume()
    volume.shard.configure({ quotaBytes: 64 * 1_024, retainCountMin: 0, retainMs: 0 })
    volume.mkdir('d')
    const fill = (): string | undefined =>
      codeOf(() => {
        for (let index = 0; ; index++) volume.put(`d/${index}-${'n'.repeat(200)}`)
      })

    expect(fill()).toBe('quota-exceeded')
    volume.rm('d', true)
    while (volume.reap(1_000)) volume.check()
    for (let index = 0; index < 20; index++) volume.shard.pass(60_000)

    volume.mkdir('d')
    expect(fill()).toBe('quota-exceeded')
    volume.check()
  })
})

describe('list', () => {
  it('goes through 100,000 entries in pages that are bounded', () => {
    const volume = new Volume()
    volume.shard.configure({ retainCountMin: 0, retainCountMax: 10, retainMs: 0 })
    volume.mkdir('d')
    const count = 100_000
    for (let index = 0; index < count; index++) volume.put(`d/${index}`)

    const seen: string[] = []
    let page = volume.page('d')
    let pages = 1
    for (;;) {
      expect(page.entries.length).toBeLessThanOrEqual(1_000)
      seen.push(...page.entries.map(({ name }) => text(name)))
      if (page.last === undefined) break
      page = volume.page('d', { inode: page.inode, after: page.last.slice() })
      pages += 1
    }

    expect(pages).toBe(100)
    expect(seen).toHaveLength(count)
    expect(seen).toEqual(Array.from({ length: count }, (_, index) => `${index}`).toSorted())
    volume.mv('d', 'e')
    expect(volume.page('e', { limit: 3 }).entries).toHaveLength(3)
  }, 60_000)

  it('goes on where it was when the directory is moved and entries come and go', () => {
    const volume = new Volume()
    volume.mkdir('d')
    for (const name of ['a', 'b', 'c', 'd', 'e']) volume.put(`d/${name}`)
    const first = volume.page('d', { limit: 2 })

    volume.mv('d', 'elsewhere')
    volume.rm('elsewhere/b')
    volume.rm('elsewhere/d')
    volume.put('elsewhere/bb')
    const rest = volume.page('d', { inode: first.inode, after: utf8('b'), limit: 10 })

    expect(first.entries.map(({ name }) => text(name))).toEqual(['a', 'b'])
    expect(rest.entries.map(({ name }) => text(name))).toEqual(['bb', 'c', 'e'])
    expect(rest.last).toBeUndefined()
  })

  it('of a file is refused', () => {
    const volume = new Volume()
    volume.put('f')

    expect(codeOf(() => volume.list('f'))).toBe('not-a-directory')
    expect(codeOf(() => volume.page('f', { limit: 0 }))).toBe('not-a-directory')
    expect(codeOf(() => volume.page('', { limit: 0 }))).toBe('invalid-argument')
    expect(namesOf('')).toEqual([])
  })
})

describe('pins', () => {
  it('keep a file without a name until it is unpinned', () => {
    const shard = new Shard('bafy')
    const pin = { cid: cidOf(1), bytes: 5, cycle: 0 }

    shard.run(PIN, pin)
    shard.run(PIN, pin)
    expect(codeOf(() => shard.run(PIN, { ...pin, cid: cidOf(2) }))).toBe('invalid-argument')
    expect(shard.machine.reads.scan({ area: AREAS['file-pin'] }).entries).toHaveLength(1)
    shard.run(UNPIN, undefined)

    expect(codeOf(() => shard.run(UNPIN, undefined))).toBe('not-found')
    expect(shard.machine.reads.collection.releases).toBe(1)
    shard.check()
  })
})
