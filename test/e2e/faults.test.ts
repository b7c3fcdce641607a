// Bad input and faults with real processes, sockets and disks: a clear error, nothing lost. Each
// line of the list has a test named after it, here or in one of the files beside this one.

import { spawn } from 'node:child_process'
import { appendFile, cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { MIB } from '../../src/base/units.ts'
import type { NodeStatus } from '../../src/node/status.ts'
import {
  atoll,
  bytesOf,
  COMMAND,
  exitOf,
  fingerprint,
  freePort,
  pause,
  ProcessMesh,
  sha256,
  until,
  type CommandResult
} from './process-mesh.ts'

const FILE_BYTES: number = 32 * MIB
/** How many blocks of a put a node has stored when something is killed. */
const POINTS = [0, 1, 15] as const
const ONE_LINE = /^atoll: [^\n]+\n$/

function expectError(result: Pick<CommandResult, 'code' | 'stderr'>, text: RegExp): void {
  expect(result.stderr).toMatch(ONE_LINE)
  expect(result.stderr).toMatch(text)
  expect(result.code).toBe(1)
}

const upIn = async (dataDir: string, words: readonly string[] = []): Promise<CommandResult> =>
  await atoll(['up', '--data', dataDir, '--preset', 'local', '--json', ...words])

describe('folders', () => {
  it('wrong mesh id: a folder of one mesh does not join another, and stays as it is', async () => {
    await using mesh = await ProcessMesh.create(1)
    const other = mesh.spawn({ dataDir: mesh.dirOf('other'), words: ['--preset', 'local'] })
    const otherUp = await other.ready()
    const bytes = bytesOf(200_000, 1)
    const path = await mesh.file(bytes)
    const put = await atoll(['put', path, '--data', other.dataDir])
    expect(await other.stop()).toBe(0)
    const before = await identityOf(other.dataDir)
    const address = mesh.at(0).up.addresses[0] as string

    const refused = await upIn(other.dataDir, ['--join', address])

    expect(refused.stdout.toString().split('\n').length).toBeLessThanOrEqual(2)
    expectError(refused, /belongs to mesh .* and the other one to mesh .*empty data folder/)
    expect(await identityOf(other.dataDir)).toEqual(before)
    expect((await mesh.status(0)).members).toHaveLength(1)
    const again = mesh.spawn({ dataDir: other.dataDir, words: ['--preset', 'local'] })
    expect((await again.ready()).meshId).toBe(otherUp.meshId)
    const got = await atoll(['get', put.stdout.toString().trim(), '--data', other.dataDir])
    expect(sha256(got.stdout)).toBe(sha256(bytes))
  })

  it('wrong mesh id: the same for a member of a mesh that answers', async () => {
    await using mesh = await ProcessMesh.create(2)
    const other = mesh.spawn({ dataDir: mesh.dirOf('other'), words: ['--preset', 'local'] })
    const address = (await other.ready()).addresses[0] as string
    expect(await mesh.at(1).stop()).toBe(0)

    const refused = mesh.spawn({
      dataDir: mesh.dirOf(1),
      words: ['--preset', 'local', '--join', address]
    })

    const code = await exitOf(refused)
    expectError({ code, stderr: refused.stderr }, /two meshes never merge/)
    await mesh.start(1)
    await mesh.everybodySees(2)
  })

  it('cloned data folder started twice on two ports: both say so and stop; neither corrupts', async () => {
    await using mesh = await ProcessMesh.create(4)
    const files = [1, 2, 3].map((seed) => bytesOf(300_000, seed))
    const cids: string[] = []
    for (const bytes of files) cids.push((await mesh.put(0, bytes)).cid)
    await mesh.settled(0)
    expect(await mesh.at(3).stop()).toBe(0)
    await cp(mesh.dirOf(3), mesh.dirOf('clone'), { recursive: true })
    const ports = [await freePort(), await freePort()]
    const words = (port: number): string[] => [
      '--preset',
      'local',
      '--listen',
      `/ip4/127.0.0.1/tcp/${port}`,
      '--join',
      mesh.at(0).up.addresses[0] as string
    ]

    const both = [mesh.dirOf(3), mesh.dirOf('clone')].map((dataDir, index) =>
      mesh.spawn({ dataDir, words: words(ports[index] as number) })
    )

    for (const node of both) {
      expectError(
        { code: await exitOf(node), stderr: node.stderr },
        /its data folder is a copy\. Stop/
      )
    }
    for (const [index, cid] of cids.entries()) {
      expect(sha256(await mesh.get(index % 3, cid))).toBe(sha256(files[index] as Uint8Array))
    }
    await mesh.start(3, { join: mesh.at(0).up.addresses[0] })
    await mesh.everybodySees(4)
    for (const [index, cid] of cids.entries()) {
      expect(sha256(await mesh.get(3, cid))).toBe(sha256(files[index] as Uint8Array))
    }
  })

  it('second process on the same folder: refused, the first one goes on', async () => {
    await using mesh = await ProcessMesh.create(1)

    const second = await upIn(mesh.dirOf(0))

    expectError(second, /is using it; stop that node first, or give this one a data folder/)
    expect((await mesh.status(0)).members).toHaveLength(1)
  })

  it('folder of a newer format: refused and unchanged', async () => {
    await using mesh = await ProcessMesh.create(1)
    expect(await mesh.at(0).stop()).toBe(0)
    const path = join(mesh.dirOf(0), 'node.json')
    const file = JSON.parse(await readFile(path, 'utf8')) as object
    await writeFile(path, JSON.stringify({ ...file, format: 2, news: 'of the future' }))
    const before = await fingerprint(mesh.dirOf(0))

    const refused = await upIn(mesh.dirOf(0))

    expectError(refused, /has format 2; this version knows 1\. Nothing was changed: update atoll/)
    expect(await fingerprint(mesh.dirOf(0))).toEqual(before)
  })

  it('damaged files of the data folder: each is named, with the next step', async () => {
    await using mesh = await ProcessMesh.create(1)
    expect(await mesh.at(0).stop()).toBe(0)
    for (const name of ['node.json', 'key', 'genesis']) {
      const copy = mesh.dirOf(`damaged-${name}`)
      await cp(mesh.dirOf(0), copy, { recursive: true })
      const bytes = await readFile(join(copy, name))
      await writeFile(join(copy, name), bytes.subarray(0, bytes.length / 2))

      expectError(await upIn(copy), new RegExp(`file ${name} in .* is damaged .*Restore it`))
    }
    // The memory of the last run isn't worth a refusal.
    await writeFile(join(mesh.dirOf(0), 'members'), 'garbage')
    await mesh.start(0)
  })
})

describe('puts that are cut off', () => {
  it('kill -9 of the client at any point of a put: nothing half is left, and the next put sends only what is missing', async () => {
    await using mesh = await ProcessMesh.create(3)
    const fresh = (await mesh.put(0, bytesOf(FILE_BYTES, 1))).copiesWritten
    for (const [seed, stored] of POINTS.entries()) {
      const bytes = bytesOf(FILE_BYTES, 10 + seed)
      const path = await mesh.file(bytes)
      const client = spawn(process.execPath, [COMMAND, 'put', path, '--data', mesh.dirOf(0)], {
        stdio: 'ignore'
      })
      const ended = new Promise<unknown>((resolve) => {
        client.once('close', resolve)
      })
      await untilStored(mesh, 0, stored)
      client.kill('SIGKILL')
      await ended

      const { cid, copiesWritten } = await mesh.put(0, bytes)

      process.stdout.write(
        `client killed with ${stored} blocks stored: then ${copiesWritten} of ${fresh} copies written\n`
      )
      if (stored > 0) expect(copiesWritten).toBeLessThan(fresh)
      expect(sha256(await mesh.get(2, cid))).toBe(sha256(bytes))
      if (stored > 0) await untilNothingIsSent(mesh, bytes)
    }
  })

  it('kill -9 of the node at any point of a put: what was acknowledged is readable, the next put sends only what is missing', async () => {
    await using mesh = await ProcessMesh.create(4)
    const fresh = (await mesh.put(0, bytesOf(FILE_BYTES, 1))).copiesWritten
    for (const [seed, stored] of POINTS.entries()) {
      const bytes = bytesOf(FILE_BYTES, 20 + seed)
      const put = mesh.atoll(0, ['put', await mesh.file(bytes)])
      await untilStored(mesh, 1, stored)
      await mesh.at(0).kill()
      const result = await put

      if (result.code === 0) {
        const acknowledged = result.stdout.toString().trim()
        expect(sha256(await mesh.get(1, acknowledged))).toBe(sha256(bytes))
      } else {
        expectError(result, /(?:broke off|No node runs in)/)
      }
      await mesh.start(0)
      await mesh.everybodySees(4)
      const { cid, copiesWritten } = await mesh.put(0, bytes)
      process.stdout.write(
        `node killed with ${stored} blocks stored (put ended with ${result.code}): then ${copiesWritten} of ${fresh} copies written\n`
      )
      if (stored > 0) expect(copiesWritten).toBeLessThan(fresh)
      expect(sha256(await mesh.get(3, cid))).toBe(sha256(bytes))
      if (stored > 0) await untilNothingIsSent(mesh, bytes)
    }
  })

  it('file changed during upload: refused with the cause', async () => {
    await using mesh = await ProcessMesh.create(1)
    const path = await mesh.file(bytesOf(60 * MIB, 1))
    const upload = { running: true }

    const put = mesh.atoll(0, ['put', path]).finally(() => {
      upload.running = false
    })
    while (upload.running) {
      await appendFile(path, 'more')
      await pause(5)
    }

    expectError(await put, /changed/)
    expect((await put).stdout.toString()).toBe('')
  })
})

describe('disk full during put', () => {
  it('the put fails cleanly with the cause; get, delete by leave and other files go on', async () => {
    await using mesh = await ProcessMesh.create(1, ['--capacity', '64MiB'])
    const kept = bytesOf(20 * MIB, 1)
    const { cid } = await mesh.put(0, kept)
    const large = await mesh.file(bytesOf(60 * MIB, 2))

    const refused = await mesh.atoll(0, ['put', large])

    expectError(refused, /Cannot store block .*(?:full|capacity)/)
    expect(refused.stdout.toString()).toBe('')
    expect(sha256(await mesh.get(0, cid))).toBe(sha256(kept))
    expect((await mesh.atoll(0, ['stat', cid])).code).toBe(0)
    const { usedBytes = 0, capacityBytes = 0 } = (await mesh.status(0)).members[0] ?? {}
    expect(capacityBytes).toBe(64 * MIB)
    expect(usedBytes).toBeLessThanOrEqual(capacityBytes)
    // Room elsewhere: others take the copies, and a leave deletes every block of the full disk.
    for (const index of [1, 2, 3]) await mesh.start(index)
    await mesh.everybodySees(4)
    expect(await mesh.atoll(0, ['leave'])).toMatchObject({ code: 0, stderr: '' })
    for (const index of [1, 2, 3]) expect(sha256(await mesh.get(index, cid))).toBe(sha256(kept))
    const { cid: largeCid } = await mesh.put(1, await readFile(large))
    expect(largeCid).toMatch(/^baf/)
  })
})

describe('two nodes joining while one leaves', () => {
  it('the files stay readable all the time, and in the end all agree', async () => {
    await using mesh = await ProcessMesh.create(4)
    const files = [1, 2, 3, 4, 5, 6].map((seed) => bytesOf(1_500_000, seed))
    const cids: string[] = []
    for (const bytes of files) cids.push((await mesh.put(0, bytes)).cid)
    await mesh.settled(0)
    const changes = { running: true }
    const reads = (async () => {
      let count = 0
      for (; changes.running || count === 0; count++) {
        const file = count % files.length
        const got = await mesh.get(count % 2, cids[file] as string)
        expect(sha256(got)).toBe(sha256(files[file] as Uint8Array))
      }
      return count
    })()

    const [left] = await Promise.all([
      mesh.atoll(3, ['leave', '--json']),
      mesh.start(4),
      mesh.start(5)
    ]).finally(() => {
      changes.running = false
    })

    expect([left.code, left.stderr]).toEqual([0, ''])
    expect(await reads).toBeGreaterThan(0)
    expect(await exitOf(mesh.at(3))).toBe(0)
    await mesh.everybodySees(5)
    await mesh.settled(0)
    await until('all place blocks alike', 30_000, async () => {
      const hashes = await Promise.all(
        [0, 1, 2, 4, 5].map(async (index) => (await mesh.status(index)).layout.hash)
      )
      return new Set(hashes).size === 1
    })
    for (const [file, cid] of cids.entries()) {
      for (const index of [4, 5]) {
        expect(sha256(await mesh.get(index, cid))).toBe(sha256(files[file] as Uint8Array))
      }
    }
  })
})

describe('malformed words', () => {
  it('capacity 0, negative, NaN, 1e18: refused with what is accepted, and no folder is made', async () => {
    await using mesh = await ProcessMesh.create()
    const dir = mesh.dirOf('none')
    const capacities = ['0', '-5GB', 'NaN', '1e18', '1000000000000000000', '63MiB', '20TiB', '5 XB']
    for (const capacity of capacities) {
      const refused = await upIn(dir, [`--capacity=${capacity}`])

      expectError(refused, /(?:a size from 64\.0 MiB to 16\.0 TiB|is not a size; write it like)/)
      await expect(fingerprint(dir)).rejects.toThrow('ENOENT')
    }
  })

  it('malformed multiaddr, duration, label, zone, preset and API address: each is named', async () => {
    await using mesh = await ProcessMesh.create()
    const dir = mesh.dirOf('none')
    for (const [words, text] of [
      [['--join', 'example.com:4001'], /example\.com:4001.*\/ip4\//],
      [['--join', '/ip4/1.2.3/tcp/1'], /\/ip4\/1\.2\.3\/tcp\/1/],
      [['--join', '/ip4/127.0.0.1/tcp/99999'], /99999/],
      [['--join', '/ip4/127.0.0.1/udp/4001'], /it has no \/tcp part.*write it like/],
      [['--join', `/dns4/${'a'.repeat(500)}/tcp/4001`], /it is too long/],
      [['--listen', 'garbage'], /garbage/],
      [['--grace', '5 minutes'], /"5 minutes" is not a duration; write it like/],
      [['--grace', '1ms'], /a duration from 1 s to 30 days/],
      [['--label', 'novalue'], /is not a label; write KEY=VALUE/],
      [['--zone', ''], /1 to 63 printable characters/],
      [['--preset', 'moon'], /local, lan or wan/],
      [['--api', 'nowhere'], /it takes HOST:PORT/],
      [['--api', '0.0.0.0:0'], /it is for this machine only/]
    ] as const) {
      expectError(await atoll(['up', '--data', dir, '--json', ...words]), text)
      await expect(fingerprint(dir)).rejects.toThrow('ENOENT')
    }
  })

  it('malformed CID, size and invalid range: each is named, with how it is written', async () => {
    await using mesh = await ProcessMesh.create(1)
    const { cid } = await mesh.put(0, bytesOf(1_000, 1))
    for (const [words, text] of [
      [['get', 'garbage'], /"garbage" is not a CID; it is what "atoll put" printed/],
      [['stat', '../../etc/passwd'], /is no name of a file/],
      [['get', cid.slice(0, -1)], /is not a CID/],
      [
        ['get', 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'],
        /knows raw and dag-pb/
      ],
      [['get', cid, '--range', '9-1'], /"9-1" is not a range; write FIRST-LAST/],
      [['get', cid, '--range', 'a-b'], /is not a range/],
      [['get', cid, '--range', '-5'], /is not a range/],
      [['get', cid, '--range', '1e3-'], /is not a range/],
      [['get', cid, '--range', '1001-'], /it has only 1000 bytes/],
      [['scrub', '--rate', 'fast'], /"fast" is not a size; write it like/]
    ] as const) {
      const result = await mesh.atoll(0, words)
      expectError(result, text)
      expect(result.stdout).toHaveLength(0)
    }
  })
})

/** Waits until a node has so many more blocks than now. */
async function untilStored(mesh: ProcessMesh, index: number, blocks: number): Promise<void> {
  const client = await mesh.at(index).client()
  const count = async (): Promise<number> => (await client.json<NodeStatus>('status')).blocks.count
  const before = await count()
  while ((await count()) < before + blocks) await pause(5)
}

/** Puts the bytes again until the last copies have arrived: then nothing is sent, by whatever node. */
async function untilNothingIsSent(mesh: ProcessMesh, bytes: Uint8Array): Promise<void> {
  await until('every copy is there', 30_000, async () => {
    const again = await mesh.put(1, bytes)
    return again.copiesWritten === 0 || `${again.copiesWritten} written`
  })
}

/** Who a folder is, which mesh it belongs to, and its blocks: what a refusal must not touch. */
async function identityOf(dir: string): Promise<string[]> {
  const lines = await fingerprint(dir)
  return lines.filter((line) => /^\/(?:key|genesis|blocks\/[0-9a-f]{2}\/)/.test(line))
}
