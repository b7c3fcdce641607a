// Every command as a user runs it: what it prints, where, and with which exit code.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  atoll,
  blockFile,
  bytesOf,
  COMMAND,
  exitOf,
  ProcessMesh,
  sha256,
  statusOf,
  until,
  type CommandResult
} from './process-mesh.ts'

const run = promisify(execFile)
const EMPTY_CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'

function json(result: CommandResult): unknown {
  if (result.code !== 0) throw new Error(`It ended with ${result.code}: ${result.stderr}`)
  return JSON.parse(result.stdout.toString())
}

/** One line with the cause, on stderr, and nothing on stdout. */
function expectError(result: CommandResult, text: RegExp, code = 1): void {
  expect(result.stderr).toMatch(/^atoll: [^\n]+\n$/)
  expect(result.stderr).toMatch(text)
  expect(result.stdout.toString()).toBe('')
  expect(result.code).toBe(code)
}

describe('commands', () => {
  let mesh: ProcessMesh

  beforeAll(async () => {
    mesh = await ProcessMesh.create(3)
  })

  afterAll(async () => {
    await mesh[Symbol.asyncDispose]()
  })

  it('up --json prints one line when it serves, and keeps its secrets to itself', async () => {
    const { up, dataDir } = mesh.at(0)

    expect(Object.keys(up).toSorted()).toEqual(['addresses', 'api', 'dataDir', 'meshId', 'peerId'])
    expect(up.peerId).toMatch(/^12D3KooW/)
    expect(up.meshId).toMatch(/^[0-9a-f]{64}$/)
    expect(up.addresses[0]).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\/12D3KooW/)
    expect(up.api).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(up.dataDir).toBe(dataDir)
    for (const secret of ['key', 'api.json']) {
      expect((await stat(join(dataDir, secret))).mode & 0o777).toBe(0o600)
    }
  })

  it('put and get: a file comes back on any node, --json tells what it is', async () => {
    const bytes = bytesOf(2_200_000, 1)
    const path = await mesh.file(bytes)

    const put = json(await mesh.atoll(0, ['put', path, '--json']))
    const { cid } = put as { cid: string }
    // The third copy may come after the acknowledgement.
    let again: unknown
    await until('all copies are there', 20_000, async () => {
      again = json(await mesh.atoll(1, ['put', path, '--json']))
      return (again as { copiesWritten: number }).copiesWritten === 0
    })
    const plain = await mesh.atoll(2, ['put', path])

    expect(cid).toMatch(/^baf/)
    expect(put).toEqual({ cid, bytes: 2_200_000, blocks: 4, copiesWritten: expect.any(Number) })
    expect(again).toEqual({ cid, bytes: 2_200_000, blocks: 4, copiesWritten: 0 })
    expect([plain.stdout.toString(), plain.stderr, plain.code]).toEqual([`${cid}\n`, '', 0])
    for (const index of [0, 1, 2]) expect(sha256(await mesh.get(index, cid))).toBe(sha256(bytes))
  })

  it('names: what one node puts, moves and removes the others see', async () => {
    const bytes = bytesOf(1_200_000, 7)
    const path = await mesh.file(bytes)

    expect((await mesh.atoll(0, ['mkdir', 'photos/2026'])).code).toBe(0)
    const { cid } = json(await mesh.atoll(0, ['put', path, 'photos/2026/a.jpg', '--json'])) as {
      cid: string
    }

    expect(json(await mesh.atoll(1, ['ls', 'photos/2026', '--json']))).toEqual([
      { name: 'a.jpg', type: 'file', bytes: 1_200_000, cid }
    ])
    expectError(await mesh.atoll(1, ['put', path, 'photos/2026/a.jpg']), /replace it or append/)
    expect((await mesh.atoll(2, ['mv', 'photos/2026', 'photos/old'])).code).toBe(0)
    expect(sha256(await mesh.get(1, 'photos/old/a.jpg'))).toBe(sha256(bytes))
    expectError(await mesh.atoll(0, ['rm', 'photos']), /it has entries/)
    expect((await mesh.atoll(0, ['rm', '-r', 'photos'])).code).toBe(0)
    expectError(await mesh.atoll(2, ['ls', 'photos']), /There is no photos/)
  })

  it('get -o writes the whole file under the name, or nothing', async () => {
    const bytes = bytesOf(1_500_000, 2)
    const { cid } = await mesh.put(0, bytes)
    const output = join(mesh.root, 'output')

    const got = await mesh.atoll(1, ['get', cid, '-o', output, '--json'])
    const missing = bytesOf(10, 3)
    const unknown = await mesh.atoll(1, ['get', rawCid(missing), '-o', `${output}-unknown`])

    expect(json(got)).toEqual({ cid, bytes: 1_500_000, output })
    expect(sha256(await readFile(output))).toBe(sha256(bytes))
    expectError(unknown, /No member of the mesh has block/)
    expect((await readdir(mesh.root)).filter((name) => name.startsWith('output'))).toEqual([
      'output'
    ])
  })

  it('get --range gives bytes with both ends included', async () => {
    const bytes = bytesOf(2_100_000, 4)
    const { cid } = await mesh.put(0, bytes)
    const range = async (text: string): Promise<Buffer> => {
      const { code, stdout, stderr } = await mesh.atoll(2, ['get', cid, '--range', text])
      expect([code, stderr]).toEqual([0, ''])
      return stdout
    }

    expect(Buffer.compare(await range('0-99'), bytes.subarray(0, 100))).toBe(0)
    expect(
      Buffer.compare(await range('1048570-1048585'), bytes.subarray(1_048_570, 1_048_586))
    ).toBe(0)
    expect(Buffer.compare(await range('2099990-'), bytes.subarray(2_099_990))).toBe(0)
    expect(await range('2099999-9999999')).toHaveLength(1)
  })

  it('get behind a pipe with a slow reader loses nothing', async () => {
    // More than a pipe holds, and little enough that the end is still queued when all is sent.
    const { cid } = await mesh.put(0, bytesOf(100_000, 5))
    const command = `"${process.execPath}" "${COMMAND}" get ${cid} --data "${mesh.dirOf(1)}"`

    const { stdout } = await run('/bin/sh', ['-c', `${command} | (sleep 2; wc -c)`])

    expect(Number(stdout)).toBe(100_000)
  })

  it('put - takes standard input', async () => {
    const bytes = bytesOf(1_300_000, 6)

    const fromInput = json(await mesh.atoll(0, ['put', '-', '--json'], bytes))

    const { cid } = fromInput as { cid: string }
    expect(fromInput).toEqual({
      cid,
      bytes: 1_300_000,
      blocks: 3,
      copiesWritten: expect.any(Number)
    })
    expect(cid).toBe((await mesh.put(1, bytes)).cid)
    expect(sha256(await mesh.get(2, cid))).toBe(sha256(bytes))
  })

  it('0-byte file: put, get, stat and an empty standard input', async () => {
    const path = await mesh.file(new Uint8Array(0))

    const put = json(await mesh.atoll(0, ['put', path, '--json']))
    const fromInput = json(await mesh.atoll(1, ['put', '-', '--json']))

    expect(put).toMatchObject({ cid: EMPTY_CID, bytes: 0, blocks: 1 })
    expect(fromInput).toMatchObject({ cid: EMPTY_CID, bytes: 0 })
    expect(await mesh.get(2, EMPTY_CID)).toHaveLength(0)
    expect(json(await mesh.atoll(2, ['stat', EMPTY_CID, '--json']))).toEqual({
      cid: EMPTY_CID,
      type: 'file',
      bytes: 0
    })
    const ranged = await mesh.atoll(0, ['get', EMPTY_CID, '--range', '0-9'])
    expect([ranged.code, ranged.stdout.length, ranged.stderr]).toEqual([0, 0, ''])
    // An empty block file is a good one, also to a node that finds it on its disk.
    await mesh.settled(1)
    expect(await mesh.at(1).stop()).toBe(0)
    await mesh.start(1)
    await mesh.everybodySees(3)
    expect(await blockFile(mesh.dirOf(1), EMPTY_CID)).toBeDefined()
    expect(await mesh.get(1, EMPTY_CID)).toHaveLength(0)
  })

  it('stat says what a CID is', async () => {
    const { cid } = await mesh.put(0, bytesOf(5_000, 7))

    expect(json(await mesh.atoll(1, ['stat', cid, '--json']))).toEqual({
      cid,
      type: 'file',
      bytes: 5_000
    })
    expect((await mesh.atoll(1, ['stat', cid])).stdout.toString()).toBe(
      `file, 4.9 KiB (5000 bytes), ${cid}\n`
    )
  })

  it('status and nodes list the members', async () => {
    const status = json(await mesh.atoll(1, ['status', '--json']))

    const count = expect.any(Number) as number
    const { members } = status as { members: { name: string }[] }
    // All of it: programs rely on what is there, and on nothing else being there.
    expect(status).toEqual({
      peerId: mesh.at(1).up.peerId,
      meshId: mesh.at(0).up.meshId,
      name: 'n1',
      addresses: mesh.at(1).up.addresses,
      members,
      layout: { version: count, hash: expect.stringMatching(/^[0-9a-f]+$/) },
      blocks: { count, bytes: count, underReplicated: 0, missing: 0, pendingMoves: count },
      shards: { count: 33, led: count, ledHere: count },
      failuresTolerated: 1
    })
    expect(members.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual(
      [0, 1, 2].map((index) => ({
        peerId: mesh.at(index).up.peerId,
        name: `n${index}`,
        zone: 'default',
        labels: {},
        addresses: mesh.at(index).up.addresses.map((text) => text.replace(/\/p2p\/.*/, '')),
        state: 'alive',
        capacityBytes: 2 ** 30,
        usedBytes: count
      }))
    )
    const nodes = json(await mesh.atoll(0, ['nodes', '--json']))
    expect(nodes).toHaveLength(3)
    const text = (await mesh.atoll(0, ['status'])).stdout.toString()
    expect(text).toContain('members  3, 3 answering = 1 failure tolerated')
    expect((await mesh.atoll(0, ['nodes'])).stdout.toString().trimEnd().split('\n')).toHaveLength(4)
  })

  it('ring, doctor and scrub report', async () => {
    const ring = json(await mesh.atoll(0, ['ring', '--json']))
    const doctor = json(await mesh.atoll(0, ['doctor', '--json']))
    const scrub = json(await mesh.atoll(0, ['scrub', '--rate', '1GB', '--json']))

    expect(ring).toMatchObject({ copies: 3 })
    expect((ring as { peers: unknown[] }).peers).toHaveLength(3)
    expect(doctor).toMatchObject({ ok: true })
    const { nodes } = scrub as { nodes: { report: { damaged: number } }[] }
    expect(nodes.map(({ report }) => report.damaged)).toEqual([0, 0, 0])
    for (const words of [['ring'], ['doctor'], ['scrub']]) {
      const { code, stdout, stderr } = await mesh.atoll(0, words)
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout.toString().split('\n').length).toBeGreaterThan(3)
    }
  })

  it('errors are one line on stderr with cause and next step', async () => {
    expectError(await mesh.atoll(0, ['put', '/no/such/file']), /Cannot read \/no\/such\/file: /)
    expectError(await mesh.atoll(0, ['put', mesh.root]), /it is not a file/)
    expectError(
      await atoll(['status', '--data', mesh.dirOf('empty')]),
      /No node runs in .*Start one with "atoll up", or name another folder with --data/
    )
    expectError(await mesh.atoll(0, ['evict', '12D3KooWnobody']), /is no member.*atoll nodes/)
    expectError(await mesh.atoll(0, ['evict', 'no/peer']), /is not a peer id/)
    const self = mesh.at(0).up.peerId
    expectError(await mesh.atoll(0, ['evict', self]), /cannot evict itself; use: atoll leave/)
  })

  it('wrong words on the command line are one line too, with exit code 2', async () => {
    for (const [words, text] of [
      [['pus'], /unknown command 'pus'/],
      [['put'], /missing required argument 'file'/],
      [['put', 'a', '--jsn'], /unknown option '--jsn'/],
      [['get', 'a', '--range'], /argument missing/]
    ] as const) {
      const result = await atoll(words)
      expectError(result, text, 2)
      expect(result.stderr).toContain('atoll --help')
    }
    const help = await atoll(['--help'])
    expect([help.code, help.stderr]).toEqual([0, ''])
    expect(help.stdout.toString()).toContain('atoll up')
    expect((await atoll(['--version'])).stdout.toString()).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})

describe('life of a node', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s is a clean stop', async (signal) => {
    await using mesh = await ProcessMesh.create(2)
    const { dataDir } = mesh.at(1)

    process.kill(mesh.at(1).pid, signal)

    expect(await exitOf(mesh.at(1))).toBe(0)
    expect(mesh.at(1).stderr).toBe('')
    const left = await readdir(dataDir)
    expect(left).not.toContain('api.json')
    expect(await readdir(join(dataDir, 'lock'))).toEqual([])
    expectError(await mesh.atoll(1, ['status']), /No node runs in/)
  })

  it('join is up --join; a node killed with SIGKILL leaves a folder that starts again', async () => {
    await using mesh = await ProcessMesh.create(1)
    const address = mesh.at(0).up.addresses[0] as string
    const dataDir = mesh.dirOf('joined')
    const node = mesh.spawn({ dataDir, words: ['--preset', 'local', '--join', address] })
    const up = await node.ready()
    expect(up.meshId).toBe(mesh.at(0).up.meshId)

    await node.kill()
    expectError(await atoll(['status', '--data', dataDir]), /No node runs in/)
    const again = mesh.spawn({ dataDir, words: ['--preset', 'local'] })

    expect(await again.ready()).toMatchObject({ peerId: up.peerId, addresses: up.addresses })
    const joining = await atoll(['join', '--data', dataDir, '--preset', 'local', '--json', address])
    expectError(
      joining,
      /is using it; stop that node first, or give this one a data folder of its own/
    )
  })

  it('leave hands all blocks over: the files stay readable, the node is out', async () => {
    await using mesh = await ProcessMesh.create(4)
    const files = [1, 2, 3, 4].map((seed) => bytesOf(400_000, seed))
    const cids: string[] = []
    for (const bytes of files) cids.push((await mesh.put(0, bytes)).cid)
    await mesh.settled(0)
    const leaver = mesh.at(3)

    const left = await mesh.atoll(3, ['leave', '--json'])

    expect([left.code, left.stderr, json(left)]).toEqual([0, '', { left: true }])
    expect(await exitOf(leaver)).toBe(0)
    await mesh.everybodySees(3)
    for (const [file, cid] of cids.entries()) {
      expect(sha256(await mesh.get(file % 3, cid))).toBe(sha256(files[file] as Uint8Array))
      // With three members left each of them has every block.
      for (const index of [0, 1, 2]) expect(await blockFile(mesh.dirOf(index), cid)).toBeDefined()
    }
    const { members } = await mesh.status(0)
    expect(members.map(({ peerId }) => peerId)).not.toContain(leaver.up.peerId)
    expectError(
      await atoll(['up', '--data', leaver.dataDir, '--preset', 'local', '--json']),
      /has left its mesh. To come back: atoll join ADDRESS/
    )
    await mesh.start(3, { join: mesh.at(0).up.addresses[0] })
    await mesh.everybodySees(4)
  })

  it('leave of the only member is refused: there is nobody to hand over to', async () => {
    await using mesh = await ProcessMesh.create(1)

    expectError(await mesh.atoll(0, ['leave']), /only member of its mesh.*Just stop it/)

    expect((await mesh.status(0)).members).toHaveLength(1)
  })

  it('evict puts a lost member out for good, and its blocks are copied', async () => {
    await using mesh = await ProcessMesh.create(4)
    const files = [1, 2, 3, 4].map((seed) => bytesOf(300_000, seed))
    const cids: string[] = []
    for (const bytes of files) cids.push((await mesh.put(0, bytes)).cid)
    await mesh.settled(0)
    const { peerId } = mesh.at(2).up
    await mesh.at(2).kill()

    const evicted = await mesh.atoll(0, ['evict', peerId, '--json'])

    expect([evicted.code, json(evicted)]).toEqual([0, { evicted: peerId }])
    await until('every copy of it is restored', 30_000, async () => {
      for (const cid of cids) {
        for (const index of [0, 1, 3]) {
          if ((await blockFile(mesh.dirOf(index), cid)) === undefined) return `n${index} lacks one`
        }
      }
      return true
    })
    const members = (await mesh.status(1)).members.map((member) => member.peerId)
    expect(members).not.toContain(peerId)
    const back = mesh.spawn({ dataDir: mesh.dirOf(2), words: ['--preset', 'local'] })
    expect(await exitOf(back)).toBe(1)
    expect(back.stderr).toMatch(/^atoll: [^\n]*evicted[^\n]*empty data folder[^\n]*\n$/)
    expect((await statusOf(mesh.at(0))).members).toHaveLength(3)
  })
})

describe('a Node.js that is too old', () => {
  const expectNeed = (result: CommandResult): void => {
    expectError(result, /Node\.js 22\.13 or newer is needed, this is \d+\.\d+\.\d+\. Get it with/)
  }

  it('is told which one is needed and how to get it', async () => {
    // The version check comes before anything that an old Node.js can't even parse.
    const fake =
      "data:text/javascript,Object.defineProperty(process.versions,'node',{value:'22.12.0'})"
    expectNeed(await atoll(['status'], { env: { NODE_OPTIONS: `--import "${fake}"` } }))
    const system = '/usr/bin/node'
    const version = await run(system, ['--version']).then(
      ({ stdout }) => stdout.trim(),
      () => 'none'
    )
    const [major = 0, minor = 0] = version.slice(1).split('.').map(Number)
    const isOld = version !== 'none' && (major < 22 || (major === 22 && minor < 13))
    process.stdout.write(`the system's Node.js is ${version}: ${isOld ? 'tried too' : 'not old'}\n`)
    if (isOld) expectNeed(await atoll(['status'], { node: system }))
  })
})

/** @returns the CID of one raw block. */
function rawCid(bytes: Uint8Array): string {
  const digest = createHash('sha256').update(bytes).digest()
  const binary = Buffer.concat([Buffer.from([1, 0x55, 0x12, 0x20]), digest])
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
  const bits = [...binary].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const groups = bits.match(/.{1,5}/g) ?? []
  return `b${groups.map((group) => alphabet[parseInt(group.padEnd(5, '0'), 2)]).join('')}`
}
