// Files by name: what users do with them, and what must not happen.

import { describe, expect, it } from 'vitest'
import { MeshError } from '../../../src/base/errors.ts'
import { MIB } from '../../../src/base/units.ts'
import type { DirectoryItem, FileSource } from '../../../src/services/files/files.ts'
import { contentOf, FileMesh, readAll } from './file-mesh.ts'

const A = contentOf(1)
const B = contentOf(2)

async function list(mesh: FileMesh, path?: string, index = 0): Promise<DirectoryItem[]> {
  const work = async (): Promise<DirectoryItem[]> => {
    const items: DirectoryItem[] = []
    for await (const item of mesh.peer(index).files.ls(path)) items.push(item)
    return items
  }
  return await mesh.run(work())
}

const namesIn = async (mesh: FileMesh, path: string): Promise<string[]> =>
  (await list(mesh, path)).map(({ name }) => name)

describe('files', () => {
  it('have names that every node knows', async () => {
    await using mesh = await FileMesh.start(4)
    const { files } = mesh.peer(0)

    await mesh.run(files.mkdir('photos/2026'))
    const { cid, version } = await mesh.run(files.put('photos/2026/a.jpg', A))
    await mesh.run(files.put('photos/readme', contentOf(3, 2.5 * MIB)))

    expect(version).toBe(1)
    expect(await mesh.read('photos/2026/a.jpg', 3)).toEqual(A)
    expect(await mesh.read(cid, 2)).toEqual(A)
    expect(await list(mesh, 'photos', 2)).toEqual([
      { name: '2026', type: 'directory', bytes: 0, cid: undefined },
      { name: 'readme', type: 'file', bytes: 2.5 * MIB, cid: expect.any(String) as string }
    ])
    expect(await list(mesh)).toEqual([
      { name: 'photos', type: 'directory', bytes: 0, cid: undefined }
    ])
    expect(await mesh.run(files.stat('photos/2026/a.jpg'))).toEqual({
      cid,
      type: 'file',
      bytes: 100,
      version: 1,
      versions: [{ version: 1, bytes: 100, cid }]
    })
    expect(await mesh.run(files.stat('photos'))).toMatchObject({ type: 'directory' })
    expect(await mesh.run(files.stat(cid))).toEqual({ cid, type: 'file', bytes: 100 })
  })

  it('keep what is there unless told to replace it or to append', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(1)
    await mesh.run(files.put('v/f', A))

    expect(await mesh.codeOf(files.put('v/f', B))).toBe('exists')
    expect(await mesh.read('v/f')).toEqual(A)
    expect((await mesh.run(files.put('v/f', B, { append: true }))).version).toBe(2)
    expect(await mesh.read('v/f')).toEqual(B)
    const old = await mesh.run(readAll(files.get('v/f', { version: 1, offset: 10, length: 5 })))
    expect(old).toEqual(A.subarray(10, 15))
    expect(await mesh.codeOf(readAll(files.get('v/f', { version: 3 })))).toBe('not-found')
    expect((await mesh.run(files.put('v/f', A, { replace: true }))).version).toBe(3)
    expect(await mesh.codeOf(readAll(files.get('v/f', { version: 2 })))).toBe('not-found')
    expect(await mesh.codeOf(files.put('v/f', B, { append: true, expectedVersion: 2 }))).toBe(
      'conflict'
    )
    const both = { append: true, replace: true }
    expect(await mesh.codeOf(files.put('v/f', B, both))).toBe('invalid-argument')
  })

  it('without a name are kept by their CID until they are removed', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)

    const first = await mesh.run(files.put(A))
    const again = await mesh.run(files.put(undefined, A, {}))

    expect(again).toEqual({ ...first, copiesWritten: 0 })
    expect(await mesh.read(first.cid, 2)).toEqual(A)
    await mesh.run(files.rm(first.cid))
    expect(await mesh.codeOf(files.rm(first.cid))).toBe('not-found')
  })

  it('move within a volume, and not between two', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)
    await mesh.run(files.mkdir('v/a/b'))
    await mesh.run(files.put('v/a/b/f', A))
    await mesh.run(files.mkdir('w'))

    await mesh.run(files.mv('v/a', 'v/c'))

    expect(await mesh.read('v/c/b/f')).toEqual(A)
    expect(await mesh.codeOf(files.stat('v/a'))).toBe('not-found')
    expect(await mesh.codeOf(files.mv('v/c', 'w/c'))).toBe('cross-volume')
    expect(await mesh.codeOf(files.mv('v/c', 'v/c/b/d'))).toBe('invalid-argument')
    expect(await mesh.codeOf(files.rm('v/c'))).toBe('not-empty')
    await mesh.run(files.rm('v/c', { recursive: true }))
    expect(await namesIn(mesh, 'v')).toEqual([])
    expect(await mesh.codeOf(files.rm('v/c'))).toBe('not-found')
  })

  it('are listed a page at a time, in the order of their names', async () => {
    await using mesh = await FileMesh.start(1)
    const { files } = mesh.peer(0)
    const { cid } = await mesh.run(files.put('v/0', A))
    const names = Array.from({ length: 2_500 }, (_, index) => `${index}`)
    for (const name of names.slice(1)) await mesh.run(files.put(`v/${name}`, A))
    mesh.shards.calls.length = 0

    const items = await list(mesh, 'v')

    expect(items.map(({ name }) => name)).toEqual(names.toSorted())
    expect(new Set(items.map((item) => item.cid))).toEqual(new Set([cid]))
    expect(mesh.shards.calls.filter((name) => name === 'file.list')).toHaveLength(3)
  })

  it('of directories are refused where a file is meant, and the other way round', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)
    await mesh.run(files.mkdir('v/d'))
    await mesh.run(files.put('v/f', A))

    expect(await mesh.codeOf(readAll(files.get('v/d')))).toBe('is-a-directory')
    expect(await mesh.codeOf(files.put('v/d', A, { replace: true }))).toBe('is-a-directory')
    expect(await mesh.codeOf(files.put('v/f/x', A))).toBe('not-a-directory')
    expect(await mesh.codeOf(files.put('v/x/y', A))).toBe('not-found')
    expect(await mesh.codeOf(files.mkdir('v/f'))).toBe('exists')
    expect(await mesh.codeOf(files.mkdir('v/d', { parents: false }))).toBe('exists')
    await expect(list(mesh, 'v/f')).rejects.toMatchObject({ code: 'not-a-directory' })
    await expect(list(mesh, 'nothing')).rejects.toMatchObject({ code: 'not-found' })
    expect(await mesh.codeOf(readAll(files.get('v')))).toBe('invalid-argument')
  })
})

describe('names', () => {
  it('that are composed of other characters alike are one name', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)
    const [nfc, nfd] = ['caf\u00e9', 'cafe\u0301']

    await mesh.run(files.put(`v/${nfd}`, A))

    expect(await namesIn(mesh, 'v')).toEqual([nfc])
    expect(await mesh.codeOf(files.put(`v/${nfc}`, B))).toBe('exists')
    expect(await mesh.read(`v/${nfc}`)).toEqual(A)
    expect(await mesh.read(`v/${nfd}`)).toEqual(A)
    await mesh.run(files.mkdir(`${nfd}/d`))
    expect(await namesIn(mesh, nfc)).toEqual(['d'])
  })

  it('that differ in case are two', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)

    await mesh.run(files.put('v/Readme', A))
    await mesh.run(files.put('v/README', B))

    expect(await namesIn(mesh, 'v')).toEqual(['README', 'Readme'])
    expect(await mesh.read('v/Readme')).toEqual(A)
  })

  const wrong: [string, string][] = [
    ['v/..', 'invalid-argument'],
    ['v/../w/f', 'invalid-argument'],
    ['../v/f', 'invalid-argument'],
    ['v/./f', 'invalid-argument'],
    ['v//f', 'invalid-argument'],
    ['/v/f', 'invalid-argument'],
    ['v/f/', 'invalid-argument'],
    ['', 'invalid-argument'],
    ['v/a\0b', 'invalid-argument'],
    ['v/\ud800', 'invalid-argument'],
    [`v/${'n'.repeat(256)}`, 'too-large'],
    [`v/${'n'.repeat(4_096)}`, 'too-large'],
    [`v/${'é'.repeat(128)}`, 'too-large'],
    [`v/${'d/'.repeat(200)}f`, 'too-large'],
    [`bafkrei${'a'.repeat(52)}/f`, 'invalid-argument']
  ]
  it.each(wrong)('like %j are refused everywhere', async (name, code) => {
    await using mesh = await FileMesh.start(1)
    const { files } = mesh.peer(0)
    const parts = async (): Promise<unknown> => await list(mesh, name)

    expect(await mesh.codeOf(files.put(name, A))).toBe(code)
    expect(await mesh.codeOf(files.mkdir(name))).toBe(code)
    expect(await mesh.codeOf(files.stat(name))).toBe(code)
    expect(await mesh.codeOf(files.mv('v/f', name))).toBe(code)
    expect(await mesh.codeOf(files.mv(name, 'v/f'))).toBe(code)
    expect(await mesh.codeOf(files.rm(name, { recursive: true }))).toBe(code)
    expect(await mesh.codeOf(readAll(files.get(name)))).toBe(code)
    await expect(parts()).rejects.toMatchObject({ code })
    expect(mesh.shards.calls).not.toContain('file.put')
  })
})

describe('data', () => {
  it('of 0 bytes is a file, with ranges', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)

    const { bytes } = await mesh.run(files.put('v/empty', new Uint8Array(0)))

    expect(bytes).toBe(0)
    expect(await mesh.read('v/empty')).toEqual(new Uint8Array(0))
    const beyond = readAll(files.get('v/empty', { offset: 1 }))
    expect(await mesh.codeOf(beyond)).toBe('invalid-range')
  })

  it('is read in ranges, and ranges that are none are refused', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)
    const content = contentOf(1, 2 * MIB + 7)
    await mesh.run(files.put('v/f', content))
    const part = async (offset: number, length?: number): Promise<Uint8Array> =>
      await mesh.run(
        readAll(files.get('v/f', length === undefined ? { offset } : { offset, length }))
      )

    expect(await part(MIB - 3, 6)).toEqual(content.subarray(MIB - 3, MIB + 3))
    expect(await part(2 * MIB)).toEqual(content.subarray(2 * MIB))
    expect(await part(2 * MIB, 1_000)).toEqual(content.subarray(2 * MIB))
    expect(await part(content.length)).toEqual(new Uint8Array(0))
    for (const offset of [-1, 0.5, Number.NaN, content.length + 1, 2 ** 60]) {
      expect(await mesh.codeOf(readAll(files.get('v/f', { offset })))).toBe('invalid-range')
    }
    expect(await mesh.codeOf(readAll(files.get('v/f', { length: -1 })))).toBe('invalid-range')
  })

  it('that changes while it is put, or breaks off, leaves the name as it was', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)
    await mesh.run(files.put('v/f', A))
    const changing = async function* (): AsyncGenerator<Uint8Array> {
      await Promise.resolve()
      yield contentOf(3, 3 * MIB)
      throw new MeshError('file-changed', 'it changed while it was read')
    }

    expect(await mesh.codeOf(files.put('v/f', changing(), { replace: true }))).toBe('file-changed')
    expect(await mesh.codeOf(files.put('v/g', changing()))).toBe('file-changed')
    expect(await mesh.codeOf(files.put('v/h', ['text'] as unknown as FileSource))).toBe(
      'invalid-argument'
    )

    expect(await namesIn(mesh, 'v')).toEqual(['f'])
    expect(await mesh.read('v/f')).toEqual(A)
  })

  it('is seen under its name only when all of it is there', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)
    const seen: (string | undefined)[] = []
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for (let part = 0; part < 14; part++) {
        seen.push(
          await files.stat('v/f').then(
            () => 'there',
            () => undefined
          )
        )
        yield contentOf(part, MIB)
      }
    }

    await mesh.run(files.put('v/f', source()))

    expect(seen).toEqual(seen.map(() => undefined))
    expect((await mesh.read('v/f', 1)).length).toBe(14 * MIB)
  })

  it('is not named when its blocks find no majority, nor when the shard does not answer', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)
    await mesh.run(files.put('v/f', A))

    mesh.shards.faults = (name) => (name === 'file.put' ? 'lost-request' : undefined)
    expect(await mesh.codeOf(files.put('v/f', B, { replace: true }))).toBe('timeout')
    mesh.shards.faults = () => undefined
    expect(await mesh.read('v/f')).toEqual(A)
    await mesh.kill(1)
    await mesh.kill(2)
    expect(await mesh.codeOf(files.put('v/f', B, { replace: true }))).toBe('no-quorum')
    expect((await mesh.run(files.stat('v/f'))).version).toBe(1)
  })

  it('whose bytes are not what their hash says is never handed out', async () => {
    await using mesh = await FileMesh.start(4)
    const { cid } = await mesh.run(mesh.peer(0).files.put('v/f', A))
    const holders = mesh.peers.filter(({ disk }) => disk.blocks.has(cid as never))
    holders.slice(0, 2).forEach(({ store }) => store.faults.corrupt(cid as never))

    for (const index of [0, 1, 2, 3]) expect(await mesh.read('v/f', index)).toEqual(A)
    await mesh.clock.advance(10_000)

    expect(mesh.copies(cid)).toBe(3)
  })

  it('is put with progress, and given up when told to', async () => {
    await using mesh = await FileMesh.start(3)
    const { files } = mesh.peer(0)
    const seen: number[] = []
    const onProgress = ({ bytes }: { bytes: number }): void => void seen.push(bytes)
    const gone = new AbortController()
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield contentOf(1, MIB)
      await Promise.resolve()
      gone.abort(new MeshError('aborted', 'no more'))
      yield contentOf(2, MIB)
    }

    await mesh.run(files.put('v/f', [A, B], { onProgress }))
    const aborted = files.put('v/g', source(), { signal: gone.signal })

    expect(await mesh.codeOf(aborted)).toBe('aborted')
    expect(seen).toEqual([100, 200])
    expect(await namesIn(mesh, 'v')).toEqual(['f'])
  })
})
