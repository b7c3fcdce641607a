// atoll kv over the real local API, with shards in this process.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../../src/api/remote/connect.ts'
import type { RemoteNode } from '../../../src/api/remote/connect.ts'
import { LocalApi } from '../local-api.ts'
import { run } from './command-line.ts'
import type { Printed } from './command-line.ts'

let api: LocalApi
let mesh: RemoteNode

beforeEach(async () => {
  api = await LocalApi.start()
  mesh = await connect(api.address)
})

afterEach(async () => {
  await mesh.close()
  await api[Symbol.asyncDispose]()
})

async function atoll(...words: string[]): Promise<Printed> {
  return await run(words, { dataDir: api.dataDir })
}

/** @returns what is printed with --json, parsed. */
async function json(...words: string[]): Promise<unknown[]> {
  const { out } = await atoll(...words, '--json')
  return out.map((line) => JSON.parse(line) as unknown)
}

describe('put, get and del', () => {
  it('print text for people and JSON for programs', async () => {
    expect(await atoll('kv', 'put', 'config/a', 'blue')).toMatchObject({
      out: ['revision 1'],
      err: [],
      code: 0
    })
    expect(await json('kv', 'put', 'config/a', 'grün')).toEqual([
      { key: 'config/a', value: 'grün', revision: 2 }
    ])
    expect((await atoll('kv', 'get', 'config/a')).out).toEqual(['grün'])
    expect(await json('kv', 'get', 'config/a')).toEqual([
      { key: 'config/a', value: 'grün', revision: 2 }
    ])
    expect(await json('kv', 'del', 'config/a')).toEqual([
      { key: 'config/a', deleted: true, revision: 3 }
    ])
    expect((await atoll('kv', 'del', 'config/a')).out).toEqual(['it was not there'])
  })

  it('a key that is not there is not-found', async () => {
    await expect(atoll('kv', 'get', 'config/none')).rejects.toMatchObject({
      code: 'not-found',
      message: 'There is no key "config/none"'
    })
  })

  it('a stale read works without a majority, and says its revision', async () => {
    await mesh.kv.put('a/1', 'old')
    api.shards.freezeStale()
    await mesh.kv.put('a/1', 'new')
    api.shards.isDown = true
    expect(await json('kv', 'get', 'a/1', '--stale')).toEqual([
      { key: 'a/1', value: 'old', revision: 1, readRevision: 1 }
    ])
    expect((await atoll('kv', 'get', 'a/1', '--stale')).err).toEqual(['(as of revision 1)'])
    expect((await atoll('kv', 'list', '--stale')).out).toEqual(['a/1\told'])
  })

  it('what is no text is base64, and says so', async () => {
    await mesh.kv.put('a/1', Uint8Array.of(0xff, 0x00))
    await mesh.kv.put(Uint8Array.of(0x61, 0x2f, 0xfe), '\ufeffmark')
    expect(await json('kv', 'get', 'a/1')).toEqual([
      { key: 'a/1', value: '/wA=', valueBase64: true, revision: 1 }
    ])
    expect(await atoll('kv', 'get', 'a/1')).toMatchObject({
      out: ['/wA='],
      err: ['(base64, for it is not UTF-8; --raw writes the bytes)']
    })
    const [, listed] = await json('kv', 'list', 'a/')
    expect(listed).toMatchObject({ key: 'YS/+', keyBase64: true, valueBase64: true, revision: 2 })
    expect((await atoll('kv', 'list')).out[0]).toBe('a/1\tbase64:/wA=')
  })

  it('conditions hold or are a conflict', async () => {
    await atoll('kv', 'put', 'a/1', 'x', '--if-absent')
    await atoll('kv', 'put', 'a/1', 'y', '--if-version', '1')
    await expect(atoll('kv', 'put', 'a/1', 'z', '--if-version', '1')).rejects.toMatchObject({
      code: 'conflict'
    })
    await expect(atoll('kv', 'put', 'a/1', 'z', '--if-version', '-1')).rejects.toMatchObject({
      code: 'invalid-argument'
    })
  })
})

describe('list and watch', () => {
  it('list prints a line for each entry, in order, over all spaces', async () => {
    for (const key of ['b/1', 'a/2', 'a/1', 'c']) await mesh.kv.put(key, `of\n${key}`)
    expect((await atoll('kv', 'list', 'a/')).out).toEqual(['a/1\t"of\\na/1"', 'a/2\t"of\\na/2"'])
    expect((await json('kv', 'list')).map((entry) => (entry as { key: string }).key)).toEqual([
      'a/1',
      'a/2',
      'b/1',
      'c'
    ])
    expect((await atoll('kv', 'list', '--limit', '1')).out).toHaveLength(1)
  })

  it('watch prints a line for each event, and ends when it is told', async () => {
    await mesh.kv.put('a/1', 'old')
    const started = Promise.withResolvers<void>()
    const controller = new AbortController()
    const { dataDir } = api
    const words = ['kv', 'watch', 'a/', '--previous', '--from', '1', '--count', '3', '--json']
    const counted = run(words, { dataDir })
    const endless = run(['kv', 'watch', 'a/1', '--key'], {
      dataDir,
      signal: controller.signal,
      onLine: (line) => {
        if (line.startsWith('Watching')) started.resolve()
        if (line.includes('delete')) controller.abort()
      }
    })
    await started.promise
    await mesh.kv.put('a/1', 'new')
    await mesh.kv.delete('a/1')

    expect((await counted).out.map((line) => JSON.parse(line) as unknown)).toEqual([
      { type: 'put', key: 'a/1', value: 'old', revision: 1 },
      {
        type: 'put',
        key: 'a/1',
        value: 'new',
        revision: 2,
        previous: { key: 'a/1', value: 'old', revision: 1 }
      },
      {
        type: 'delete',
        key: 'a/1',
        revision: 3,
        previous: { key: 'a/1', value: 'new', revision: 2 }
      }
    ])
    expect(await endless).toMatchObject({
      out: ['2\tput\ta/1\tnew', '3\tdelete\ta/1'],
      err: ['Watching from revision 2 …']
    })
  })

  it('watch refuses more than one space', async () => {
    await expect(atoll('kv', 'watch', 'a')).rejects.toMatchObject({ code: 'invalid-argument' })
  })
})

describe('txn', () => {
  it('does what its file says', async () => {
    await mesh.kv.put('a/1', 'x')
    const path = join(api.dataDir, 'txn.json')
    const file = `{
      "if": [{ "key": "a/1", "version": 1 }],
      "then": [
        { "get": "a/1" },
        { "put": "a/2", "value": "/w==", "base64": true },
        { "append": "a/log/", "value": "x" },
        { "list": "a/", "limit": 1 },
        { "deleteRange": "a/log/" }
      ],
      "else": [{ "get": "a/2" }]
    }`
    await writeFile(path, file)
    const [first] = await json('kv', 'txn', path)
    expect(first).toEqual({
      succeeded: true,
      revision: 2,
      results: [
        { key: 'a/1', value: 'x', revision: 1 },
        null,
        { key: expect.stringMatching(/^a\/log\/[0-9a-f]{16}$/) },
        { entries: [{ key: 'a/1', value: 'x', revision: 1 }], next: { key: 'a/2' } },
        { deleted: 1 }
      ]
    })
    await mesh.kv.put('a/1', 'y')
    expect((await atoll('kv', 'txn', path)).out).toEqual([
      'A condition does not hold: "else" was done, at revision 3',
      '  {"key":"a/2","value":"/w==","valueBase64":true,"revision":2}'
    ])
    await expect(atoll('kv', 'txn', '/nowhere')).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('help', () => {
  it.each([
    [['kv', '--help'], 'put'],
    [['kv', 'txn', '--help'], '"then": ['],
    [['lock', '--help'], 'ATOLL_LOCK_TOKEN']
  ])('%j tells it', async (words, text) => {
    const printed: string[] = []
    const help = run(words, { dataDir: '', onLine: (line) => printed.push(line) })
    await expect(help).rejects.toMatchObject({ exitCode: 0 })
    expect(printed.join('')).toContain(text)
  })

  it('a node that does not run is unreachable', async () => {
    const nowhere = run(['kv', 'get', 'a/1'], { dataDir: '/nowhere' })
    await expect(nowhere).rejects.toMatchObject({ code: 'unreachable' })
  })
})
