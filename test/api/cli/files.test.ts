// atoll put, get, stat, mkdir, ls, mv and rm over the real local API.

import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { serveHttpApi, type HttpApi } from '../../../src/api/http-server.ts'
import { silentLogger } from '../../../src/base/log.ts'
import { MIB } from '../../../src/base/units.ts'
import type { Node } from '../../../src/node/node.ts'
import { contentOf, FileMesh } from '../../services/files/file-mesh.ts'
import { run, type Printed } from './command-line.ts'

let mesh: FileMesh
let http: HttpApi
let dataDir: string

beforeEach(async () => {
  mesh = await FileMesh.start(1, { isReal: true })
  const node = { files: mesh.peer(0).files, shards: mesh.shards } as unknown as Node
  http = await serveHttpApi({ node, log: silentLogger }, { host: '127.0.0.1', port: 0 })
  dataDir = await mkdtemp(join(tmpdir(), 'atoll-files-'))
  const { url, token } = http
  await writeFile(join(dataDir, 'api.json'), JSON.stringify({ url, token, pid: process.pid }))
})

afterEach(async () => {
  await http.close()
  await mesh.stop()
  await rm(dataDir, { recursive: true })
})

async function atoll(...words: string[]): Promise<Printed> {
  return await run(words, { dataDir })
}

async function json<T = unknown>(...words: string[]): Promise<T> {
  const { out } = await atoll(...words, '--json')
  expect(out).toHaveLength(1)
  return JSON.parse(out[0] as string) as T
}

async function fileOf(content: Uint8Array, name = 'source'): Promise<string> {
  const path = join(dataDir, name)
  await writeFile(path, content)
  return path
}

describe('files with names', () => {
  it('are put, listed, shown, read, moved and removed', async () => {
    const content = contentOf(1, 2.5 * MIB)
    const source = await fileOf(content)

    expect((await atoll('mkdir', 'photos/2026/may')).out).toEqual([])
    const put = await json<{ cid: string }>('put', source, 'photos/2026/a b?&#.jpg')
    expect(put).toMatchObject({ bytes: content.length, path: 'photos/2026/a b?&#.jpg', version: 1 })
    expect(await json('ls', 'photos/2026')).toEqual([
      { name: 'a b?&#.jpg', type: 'file', bytes: content.length, cid: put.cid },
      { name: 'may', type: 'directory', bytes: 0, cid: null }
    ])
    expect(await json('ls')).toEqual([{ name: 'photos', type: 'directory', bytes: 0, cid: null }])
    expect((await atoll('ls', 'photos')).out).toEqual([`${' '.repeat(12)}2026/`])
    const target = join(dataDir, 'read')
    expect(await json('get', 'photos/2026/a b?&#.jpg', '-o', target)).toEqual({
      path: 'photos/2026/a b?&#.jpg',
      bytes: content.length,
      output: target
    })
    expect(Buffer.compare(await readFile(target), content)).toBe(0)
    await atoll('get', put.cid, '-o', target, '--range', `${MIB}-${MIB + 9}`)
    expect(await readFile(target)).toEqual(Buffer.from(content.subarray(MIB, MIB + 10)))
    await atoll('mv', 'photos/2026', 'photos/2027')
    expect(await json('stat', 'photos/2027/a b?&#.jpg')).toMatchObject({ cid: put.cid, version: 1 })
    await atoll('rm', 'photos/2027', '-r')
    expect(await json('ls', 'photos')).toEqual([])
  })

  it('are replaced, and get versions, only when told to', async () => {
    const [a, b] = [await fileOf(contentOf(1), 'a'), await fileOf(contentOf(2), 'b')]
    await atoll('put', a, 'v/f')

    await expect(atoll('put', b, 'v/f')).rejects.toMatchObject({ code: 'exists' })
    expect(await json('put', b, 'v/f', '--append')).toMatchObject({ version: 2 })
    const target = join(dataDir, 'read')
    await atoll('get', 'v/f', '-o', target, '--at', '1')
    expect(await readFile(target)).toEqual(Buffer.from(contentOf(1)))
    expect((await atoll('stat', 'v/f')).out).toEqual([
      expect.stringMatching(/^file, 100 B \(100 bytes\), baf\w+, version 2$/),
      expect.stringMatching(/^ {2}version 1: 100 B, baf/)
    ])
    expect(await json('put', a, 'v/f', '--replace')).toMatchObject({ version: 3 })
    await expect(atoll('get', 'v/f', '-o', target, '--at', '2')).rejects.toMatchObject({
      code: 'not-found'
    })
    await expect(atoll('put', a, '--replace')).rejects.toMatchObject({ code: 'invalid-argument' })
  })

  it('tell their mistakes by codes', async () => {
    const source = await fileOf(contentOf(1))
    await atoll('put', source, 'v/f')
    await atoll('mkdir', 'v/d/e')
    const codes: [string[], string][] = [
      [['mv', 'v/f', 'w/f'], 'cross-volume'],
      [['mv', 'v/d', 'v/d/e/x'], 'invalid-argument'],
      [['mv', 'v/f', 'v/d'], 'exists'],
      [['mv', 'v/f', 'v/d', '--replace'], 'not-empty'],
      [['rm', 'v/d'], 'not-empty'],
      [['rm', 'v/none'], 'not-found'],
      [['ls', 'v/f'], 'not-a-directory'],
      [['ls', 'none'], 'not-found'],
      [['get', 'v/d'], 'is-a-directory'],
      [['get', 'v/../f'], 'invalid-argument'],
      [['get', 'garbage'], 'invalid-argument'],
      [['get', 'v/f', '--range', '500-'], 'invalid-range'],
      [['mkdir', 'v/f'], 'exists'],
      [['mkdir', '..'], 'invalid-argument'],
      [['put', source, 'v/x/y'], 'not-found'],
      [['put', source, 'v/d', '--replace'], 'is-a-directory'],
      [['stat', `v/${'n'.repeat(4_096)}`], 'too-large']
    ]

    for (const [words, code] of codes) {
      await expect(atoll(...words), words.join(' ')).rejects.toMatchObject({ code })
    }
  })

  it('are not there when the source changed, and leave no half of a file behind', async () => {
    const source = await fileOf(contentOf(1, 30 * MIB))
    const done = new AbortController()
    const putting = atoll('put', source, 'v/f').finally(() => {
      done.abort()
    })
    const changing = (async () => {
      for (let second = 1; !done.signal.aborted; second++) await utimes(source, second, second)
    })()

    await expect(putting).rejects.toMatchObject({ code: 'file-changed' })
    await changing

    await expect(atoll('stat', 'v/f')).rejects.toMatchObject({ code: 'not-found' })
    const target = join(dataDir, 'read')
    await expect(atoll('get', 'v/f', '-o', target)).rejects.toMatchObject({ code: 'not-found' })
    expect(await readdir(dataDir)).not.toContain('read')
  })
})

describe('files without a name', () => {
  it('are put, read and removed by their CID', async () => {
    const { out } = await atoll('put', await fileOf(contentOf(1)))
    const cid = out[0] as string

    expect(await json('stat', cid)).toEqual({ cid, type: 'file', bytes: 100 })
    expect(await json('rm', cid)).toEqual({ name: cid, recursive: 'false' })
    await expect(atoll('rm', cid)).rejects.toMatchObject({ code: 'not-found' })
  })
})
