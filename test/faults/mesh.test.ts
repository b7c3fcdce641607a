// Whole nodes on virtual time, with disks and machines that fail: what is acknowledged stays.

import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { assert } from '../../src/base/assert.ts'
import { equalBytes } from '../../src/base/bytes.ts'
import { sleep } from '../../src/base/clock.ts'
import type { BlockId } from '../../src/base/ids.ts'
import { REPLICATION } from '../../src/base/limits.ts'
import { MIB } from '../../src/base/units.ts'
import type { MeshError } from '../../src/base/errors.ts'
import type { PutResult } from '../../src/services/files/files.ts'
import type { SimulatedMesh } from '../../src/testing/test-mesh.ts'
import {
  blockWhere,
  bytesOf,
  collect,
  faultsOf,
  holdersIn,
  nodeAt,
  ownersIn,
  simulatedMesh,
  watch
} from './simulated.ts'

type Stored = { cid: string; bytes: Uint8Array }

/** Puts small files through the nodes in turn. */
async function putFiles(mesh: SimulatedMesh, count: number, from = 1_000): Promise<Stored[]> {
  const stored: Stored[] = []
  for (let number = 0; number < count; number++) {
    const bytes = bytesOf(500, from + number)
    const through = number % mesh.peers.length
    stored.push({ cid: (await nodeAt(mesh, through).files.put(bytes)).cid, bytes })
  }
  return stored
}

async function expectReadable(
  mesh: SimulatedMesh,
  files: readonly Stored[],
  through = mesh.peers.flatMap(({ node }, index) => (node === undefined ? [] : [index]))
): Promise<void> {
  expect(through.length).toBeGreaterThan(0)
  for (const { cid, bytes } of files) {
    for (const index of through) {
      const got = await collect(nodeAt(mesh, index).files.get(cid))
      // Not toEqual(): that looks at megabytes one by one.
      expect(equalBytes(got, bytes), `${cid} through ${index}`).toBe(true)
    }
  }
}

async function errorOf(work: Promise<unknown>): Promise<MeshError> {
  return await work.then(
    () => {
      throw new Error('It should have failed')
    },
    (error: unknown) => error as MeshError
  )
}

describe('failed fsync', () => {
  it('at one owner: the put is acknowledged by the majority, and nothing is lost', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 1 })
    const before = await putFiles(mesh, 8)
    const { id, bytes } = blockWhere((block) => ownersIn(mesh, block).includes(1))

    faultsOf(mesh, 1).failNextSync()
    const { cid } = await nodeAt(mesh, 0).files.put(bytes)

    expect(cid).toBe(id)
    expect(mesh.peers[1]?.store?.failure()).toBeDefined()
    expect(holdersIn(mesh, id)).not.toContain(1)
    await expectReadable(mesh, [...before, { cid, bytes }])
    const next = blockWhere((block) => ownersIn(mesh, block).includes(1), { from: 500 })
    await nodeAt(mesh, 2).files.put(next.bytes)
    expect(holdersIn(mesh, next.id)).not.toContain(1)
    // With a disk that works again it gets what it lacks.
    await mesh.kill(1)
    await mesh.restart(1)
    await mesh.settle()
    for (const block of [id, next.id]) expect(holdersIn(mesh, block)).toContain(1)
  })

  it('at two owners: the put is refused with no-quorum, and nothing acknowledged is lost', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 2 })
    const before = await putFiles(mesh, 8)
    const { bytes } = blockWhere((block) => [1, 2].every((i) => ownersIn(mesh, block).includes(i)))

    faultsOf(mesh, 1).failNextSync()
    faultsOf(mesh, 2).failNextSync()
    const error = await errorOf(nodeAt(mesh, 0).files.put(bytes))

    expect(error.code).toBe('no-quorum')
    expect(error.message).toMatch(/2 of its owners must take it .*fsync failed/)
    await expectReadable(mesh, before)
    for (const index of [1, 2]) {
      await mesh.kill(index)
      await mesh.restart(index)
    }
    await mesh.settle()
    const { cid } = await nodeAt(mesh, 0).files.put(bytes)
    await expectReadable(mesh, [...before, { cid, bytes }])
  })
})

describe('disk full during put', () => {
  it('at one owner: acknowledged by the others, and copied when there is room', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 3 })
    const { id, bytes } = blockWhere((block) => ownersIn(mesh, block).includes(1))

    faultsOf(mesh, 1).fillDiskOnce()
    const { cid } = await nodeAt(mesh, 0).files.put(bytes)

    expect(mesh.peers[1]?.store?.failure()).toBeUndefined()
    await expectReadable(mesh, [{ cid, bytes }])
    await mesh.advance(60_000)
    expect(holdersIn(mesh, id)).toEqual(ownersIn(mesh, id))
  })

  it('at two owners: the put fails cleanly; get, delete and other puts go on', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 4 })
    const before = await putFiles(mesh, 8)
    const { id, bytes } = blockWhere((block) =>
      [1, 2].every((i) => ownersIn(mesh, block).includes(i))
    )

    faultsOf(mesh, 1).fillDiskOnce()
    faultsOf(mesh, 2).fillDiskOnce()
    const error = await errorOf(nodeAt(mesh, 0).files.put(bytes))

    expect(error.code).toBe('disk-full')
    await expectReadable(mesh, before)
    const gone = before.pop()
    assert(gone !== undefined, 'there were files')
    await nodeAt(mesh, 3).blocks.delete(gone.cid as BlockId)
    expect(holdersIn(mesh, gone.cid as BlockId)).toEqual([])
    expect(await nodeAt(mesh, 3).files.put(bytes)).toMatchObject({ cid: id })
    await expectReadable(mesh, [...before, { cid: id, bytes }])
  })

  it('beyond the capacity of every owner: refused with disk-full, what is there stays', async () => {
    await using mesh = await simulatedMesh({ peers: 3, seed: 5, capacityBytes: 64 * MIB })
    const before = await putFiles(mesh, 3)
    for (let number = 0; number < 63; number++) await nodeAt(mesh, 0).files.put(chunks(1, number))

    const error = await errorOf(nodeAt(mesh, 0).files.put(chunks(1, 63)))

    expect(error.code).toBe('disk-full')
    await expectReadable(mesh, before)
    await nodeAt(mesh, 1).blocks.delete(
      (await nodeAt(mesh, 0).files.put(chunks(1, 0))).cid as BlockId
    )
    expect(await nodeAt(mesh, 0).files.put(chunks(1, 63))).toMatchObject({ bytes: MIB })
  })
})

describe('0-byte file', () => {
  it('is stored, read on every node, and there after a restart of all', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 24 })
    const empty = new Uint8Array(0)

    const { cid, bytes, blocks } = await nodeAt(mesh, 0).files.put(empty)
    const parts = async function* (): AsyncGenerator<Uint8Array> {}
    const fromNothing = await nodeAt(mesh, 1).files.put(parts())
    await mesh.settle()

    expect([bytes, blocks]).toEqual([0, 1])
    expect(fromNothing.cid).toBe(cid)
    expect(await nodeAt(mesh, 2).files.stat(cid)).toEqual({ cid, type: 'file', bytes: 0 })
    expect(await collect(nodeAt(mesh, 3).files.get(cid, { offset: 0, length: 9 }))).toEqual(empty)
    const beyond = collect(nodeAt(mesh, 3).files.get(cid, { offset: 1 }))
    await expect(beyond).rejects.toMatchObject({ code: 'invalid-range' })
    expect(holdersIn(mesh, cid as BlockId)).toEqual(ownersIn(mesh, cid as BlockId))
    await mesh.advance(1_000)
    await Promise.all(mesh.peers.map((_, index) => mesh.kill(index)))
    for (const index of mesh.peers.keys()) await mesh.restart(index)
    await mesh.settle()
    await expectReadable(mesh, [{ cid, bytes: empty }])
  })
})

describe('copies', () => {
  it('hinted copies are delivered when a dead replica returns, also when no other owner is left', async () => {
    await using mesh = await simulatedMesh({ peers: 6, seed: 6 })
    const { id, bytes } = blockWhere((block) => !ownersIn(mesh, block).includes(0))
    const [away, ...others] = ownersIn(mesh, id) as [number, number, number]
    await mesh.kill(away)
    await mesh.advance(10_000)

    await nodeAt(mesh, 0).files.put(bytes)

    await mesh.advance(1_000)
    const keepers = holdersIn(mesh, id).filter((index) => !others.includes(index))
    expect(keepers).toHaveLength(1)
    for (const index of others) await mesh.kill(index)
    await mesh.restart(away)
    await mesh.advance(20_000)
    expect(holdersIn(mesh, id)).toContain(away)
    await expectReadable(mesh, [{ cid: id, bytes }])
    for (const index of others) await mesh.restart(index)
    await mesh.settle()
    expect(holdersIn(mesh, id)).toEqual(ownersIn(mesh, id))
  })

  it('re-replication begins after the grace, not before, and arcs with one copy left go first', async () => {
    const graceMs = 60_000
    await using mesh = await simulatedMesh({
      peers: 7,
      seed: 7,
      graceMs,
      blocks: { mover: { retryMs: 1_000, arcsAtOnce: 1, sendsAtOnce: 1 } }
    })
    const files = await putFiles(mesh, 120)
    await mesh.settle()
    const copiesAt = (survivors: readonly number[]): Map<string, number> =>
      new Map(
        files.map(({ cid }) => [
          cid,
          holdersIn(mesh, cid as BlockId).filter((index) => survivors.includes(index)).length
        ])
      )
    // Two peers of which some replica sets have one, some both, some none.
    const pairs = mesh.peers.flatMap((_, a) =>
      mesh.peers.flatMap((_, b) => (0 < a && a < b ? [[a, b]] : []))
    )
    const survivorsOf = (dead: readonly number[]): number[] =>
      mesh.peers.flatMap((_, index) => (dead.includes(index) ? [] : [index]))
    const dead =
      pairs.find((pair) => new Set(copiesAt(survivorsOf(pair)).values()).size === 3) ?? []
    const survivors = survivorsOf(dead)
    const copiesLeft = copiesAt(survivors)
    expect(new Set(copiesLeft.values())).toEqual(new Set([1, 2, 3]))
    await Promise.all(dead.map((index) => mesh.kill(index)))
    const sent = survivors.map((index) => readsAt(mesh, index))

    await mesh.advance(graceMs - 10_000)
    expect(sent.flat()).toEqual([])
    await mesh.advance(120_000)
    await mesh.settle()

    for (const { cid } of files) {
      const holders = holdersIn(mesh, cid as BlockId).filter((index) => survivors.includes(index))
      expect(holders).toEqual(ownersIn(mesh, cid as BlockId))
    }
    const orders = sent.map((ids) => ids.map((id) => copiesLeft.get(id) ?? 0))
    expect(orders.some((copies) => copies.includes(1) && copies.includes(2))).toBe(true)
    for (const copies of orders) {
      expect(copies).toEqual(copies.toSorted((a, b) => a - b))
    }
  })

  it('hand-over on join: never a moment with fewer verified copies than RF', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 8 })
    const files = await putFiles(mesh, 60)
    await mesh.settle()
    using watcher = watch(mesh, 10, () => expectCopies(mesh, files))

    await mesh.add()
    await mesh.settle()

    expect(watcher.problems).toEqual([])
    expect(watcher.looks).toBeGreaterThan(20)
    const moved = files.filter(({ cid }) => ownersIn(mesh, cid as BlockId).includes(4))
    expect(moved.length).toBeGreaterThan(10)
    for (const { cid } of files) {
      expect(holdersIn(mesh, cid as BlockId)).toEqual(ownersIn(mesh, cid as BlockId))
    }
  })

  it('hand-over on leave: never a moment with fewer verified copies than RF', async () => {
    await using mesh = await simulatedMesh({ peers: 5, seed: 9 })
    const files = await putFiles(mesh, 60)
    await mesh.settle()
    using watcher = watch(mesh, 10, () => expectCopies(mesh, files))
    const held = mesh.peers[2]?.disk.blocks.size ?? 0

    await nodeAt(mesh, 2).leave()

    expect(held).toBeGreaterThan(10)
    expect(mesh.peers[2]?.disk.blocks.size).toBe(0)
    await mesh.peers[2]?.stop()
    await mesh.settle()
    expect(watcher.problems).toEqual([])
    expect(watcher.looks).toBeGreaterThan(20)
    await expectReadable(mesh, files)
  })

  it('hand-over on leave takes as long as the copies, not a retry of the mover', async () => {
    // With the retry of a real node, of 5 s.
    await using mesh = await simulatedMesh({ peers: 4, seed: 22, blocks: { mover: {} } })
    const files = await putFiles(mesh, 60)
    await mesh.settle()

    const startedMs = mesh.clock.monotonicMs()
    await nodeAt(mesh, 3).leave()
    const tookMs = mesh.clock.monotonicMs() - startedMs

    expect(tookMs).toBeLessThan(2_000)
    await mesh.peers[3]?.stop()
    await mesh.settle()
    for (const { cid } of files) expect(holdersIn(mesh, cid as BlockId)).toEqual([0, 1, 2])
  })

  it('two nodes joining while one leaves: copies and files stay, in the end all agree', async () => {
    await using mesh = await simulatedMesh({ peers: 5, seed: 10 })
    const files = await putFiles(mesh, 60)
    await mesh.settle()
    using watcher = watch(mesh, 10, () => expectCopies(mesh, files))

    await Promise.all([nodeAt(mesh, 1).leave(), mesh.add(), mesh.add()])

    await mesh.peers[1]?.stop()
    await mesh.settle()
    expect(watcher.problems).toEqual([])
    await expectReadable(mesh, files)
    for (const { cid } of files) {
      expect(holdersIn(mesh, cid as BlockId)).toEqual(ownersIn(mesh, cid as BlockId))
    }
    const hashes = new Set(
      [0, 2, 3, 4, 5, 6].map((index) => nodeAt(mesh, index).mesh.layout().hash)
    )
    expect(hashes.size).toBe(1)
  })
})

describe('partition', () => {
  it('a side without a majority of the owners acknowledges nothing, and says so in bounded time', async () => {
    await using mesh = await simulatedMesh({ peers: 5, seed: 11 })
    const before = await putFiles(mesh, 10)
    await mesh.settle()
    const ofMinority = (id: BlockId): number => ownersIn(mesh, id).filter((i) => i < 2).length
    const lacking = blockWhere((id) => ofMinority(id) <= 1)
    const later = blockWhere((id) => ofMinority(id) <= 1, { from: 2_000 })
    const enough = blockWhere((id) => ofMinority(id) <= 1, { from: 4_000 })
    const timed = async (work: () => Promise<unknown>): Promise<[MeshError, number]> => {
      const startedMs = mesh.clock.monotonicMs()
      const error = await errorOf(work())
      return [error, mesh.clock.monotonicMs() - startedMs]
    }

    mesh.partition([
      [0, 1],
      [2, 3, 4]
    ])
    const [atOnce, atOnceMs] = await timed(() => nodeAt(mesh, 0).files.put(lacking.bytes))
    await mesh.advance(30_000)
    const [known, knownMs] = await timed(() => nodeAt(mesh, 1).files.put(later.bytes))
    const { cid } = await nodeAt(mesh, 3).files.put(enough.bytes)
    const [unread, unreadMs] = await timed(() => collect(nodeAt(mesh, 0).files.get(cid)))

    for (const { code } of [atOnce, known, unread]) expect(code).toBe('no-quorum')
    expect(atOnceMs).toBeLessThan(25_000)
    expect(knownMs).toBeLessThan(12_000)
    expect(unreadMs).toBeLessThan(60_000)
    await expectReadable(mesh, [{ cid, bytes: enough.bytes }], [2, 3, 4])
    mesh.heal()
    await mesh.settle()
    await expectReadable(mesh, [...before, { cid, bytes: enough.bytes }])
    expect(holdersIn(mesh, enough.id)).toEqual(ownersIn(mesh, enough.id))
  })
})

describe('kill', () => {
  it('kill and restart of every peer at once, on new addresses: they meet again and have every file', async () => {
    await using mesh = await simulatedMesh({ peers: 5, seed: 12 })
    const files = await putFiles(mesh, 20)
    await mesh.advance(1_000)

    await Promise.all(mesh.peers.map((_, index) => mesh.kill(index)))
    await mesh.advance(10_000)
    for (const index of [3, 1, 0, 4, 2]) await mesh.restart(index)
    await mesh.settle()

    await expectReadable(mesh, files)
    for (const { cid } of files) {
      expect(holdersIn(mesh, cid as BlockId)).toEqual(ownersIn(mesh, cid as BlockId))
    }
  })

  it('kill of a node that has just joined: it knows the others by itself', async () => {
    await using mesh = await simulatedMesh({ peers: 3, seed: 25 })
    const index = await mesh.add()
    await mesh.kill(index)

    const again = await mesh.restart(index, { join: false })

    expect(again.mesh.others()).toHaveLength(3)
    await mesh.settle()
    expect(again.mesh.layout().hash).toBe(nodeAt(mesh, 0).mesh.layout().hash)
  })

  it('kill -9 of the node at any point of a put: nothing acknowledged is lost, and the next put succeeds', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 13 })
    const outcomes = new Set<string>()
    for (let afterMs = 0; afterMs <= 60; afterMs += 3) {
      const bytes = chunks(3, 10 * afterMs)
      const raw = mesh.peers[0]?.node
      assert(raw !== undefined, 'the peer runs')
      let result: PutResult | undefined
      const put = raw.files.put(bytes).then(
        (done) => {
          result = done
        },
        () => {}
      )
      await mesh.advance(afterMs)
      const acknowledged: PutResult | undefined = result
      await mesh.kill(0)
      await mesh.clock.run(put)

      outcomes.add(acknowledged === undefined ? 'cut off' : 'acknowledged')
      if (acknowledged !== undefined) {
        await expectReadable(mesh, [{ cid: acknowledged.cid, bytes }], [1, 2, 3])
      }
      await mesh.restart(0)
      const { cid } = await nodeAt(mesh, 0).files.put(bytes)
      await expectReadable(mesh, [{ cid, bytes }])
    }
    expect(outcomes).toEqual(new Set(['cut off', 'acknowledged']))
  })

  it('kill of the writer after the majority, before the last owner: it gets its copy by itself', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 23 })
    const { id, bytes } = blockWhere((block) => !ownersIn(mesh, block).includes(0))
    const [writer, last] = [mesh.peers[0], mesh.peers[3]]
    assert(writer !== undefined && last !== undefined, 'the peers are there')
    mesh.world.block(writer.identity.peerId, last.identity.peerId)
    await nodeAt(mesh, 0).files.put(bytes)
    await mesh.kill(0)
    mesh.heal()
    expect(holdersIn(mesh, id)).toEqual([1, 2])

    await mesh.advance(30_000)

    expect(holdersIn(mesh, id)).toEqual([1, 2, 3])
  })

  it('a put that was cut off resumes without sending again what is there', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 14 })
    const bytes = chunks(30)
    const cut = new AbortController()
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for (let offset = 0; offset < bytes.length; offset += MIB) {
        await sleep(mesh.clock, 20)
        if (offset === 26 * MIB) cut.abort(new Error('The client went away'))
        yield bytes.subarray(offset, offset + MIB)
      }
    }
    await expect(nodeAt(mesh, 0).files.put(source(), { signal: cut.signal })).rejects.toThrow(
      'The client went away'
    )
    await mesh.settle()
    const there = new Set(
      mesh.peers.flatMap(({ disk }, index) => [...disk.blocks.keys()].map((id) => `${index} ${id}`))
    )
    expect(there.size).toBeGreaterThan(20)
    const written = mesh.peers.map((_, index) => writesAt(mesh, index))

    const { cid, blocks, copiesWritten } = await nodeAt(mesh, 0).files.put(bytes)
    await mesh.settle()

    const sentAgain = written.flatMap((ids, index) =>
      ids.map((id) => `${index} ${id}`).filter((copy) => there.has(copy))
    )
    expect(sentAgain).toEqual([])
    expect(blocks).toBe(31)
    expect(copiesWritten).toBeLessThanOrEqual(31 * REPLICATION - there.size)
    expect((await nodeAt(mesh, 1).files.put(bytes)).copiesWritten).toBe(0)
    await expectReadable(mesh, [{ cid, bytes }], [3])
  })

  it('evict: the blocks are copied at once, and the evicted node may not come back', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 15 })
    const files = await putFiles(mesh, 30)
    await mesh.settle()
    const evicted = nodeAt(mesh, 3).peerId
    await mesh.kill(3)

    await nodeAt(mesh, 0).evict(evicted)
    await mesh.settle()

    for (const { cid } of files) {
      expect(holdersIn(mesh, cid as BlockId).filter((index) => index !== 3)).toEqual([0, 1, 2])
    }
    const codes: string[] = []
    await mesh.restart(3).then(
      (node) => node.on('failed', ({ code }) => codes.push(code)),
      (error: unknown) => codes.push((error as MeshError).code)
    )
    await mesh.advance(10_000)
    expect(codes).toEqual(['evicted'])
    expect(nodeAt(mesh, 0).mesh.member(evicted)?.state).toBe('evicted')
    await expectReadable(mesh, files, [0, 1, 2])
  })

  it('H-6 evict: a node that was off, and knows the others by itself, hears of it and ends', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 20 })
    await mesh.kill(3)
    await nodeAt(mesh, 0).evict(nodeAt(mesh, 3).peerId)
    await mesh.advance(60_000)

    const codes: string[] = []
    const back = await mesh.restart(3, { join: false })
    back.on('failed', ({ code }) => codes.push(code))
    await mesh.advance(5_000)

    expect(codes).toEqual(['evicted'])
    // It keeps what it heard: the next start needs nobody to tell.
    for (const index of [0, 1, 2]) await mesh.kill(index)
    await mesh.kill(3)
    await expect(mesh.restart(3, { join: false })).rejects.toMatchObject({ code: 'evicted' })
  })

  it('H-6 evict: a node that was cut off hears of it when it is back, and ends', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 21 })
    const codes: string[] = []
    nodeAt(mesh, 3).on('failed', ({ code }) => codes.push(code))
    mesh.partition([[0, 1, 2], [3]])
    await mesh.advance(30_000)
    await nodeAt(mesh, 0).evict(nodeAt(mesh, 3).peerId)
    await mesh.advance(60_000)
    expect(codes).toEqual([])

    mesh.heal()
    await mesh.advance(20_000)

    expect(codes).toEqual(['evicted'])
    expect(mesh.peers[3]?.network?.running).toBe(false)
  })
})

describe('scrub', () => {
  const FILES = 200
  const BYTES_PER_SECOND = 10_000
  /** 500 bytes each. */
  const PASS_MS = (FILES * 500 * 1_000) / BYTES_PER_SECOND

  it('is rate-limited, and goes on where a kill had stopped it', async () => {
    await using mesh = await simulatedMesh({ peers: 3, seed: 16 })
    const files = await putFiles(mesh, FILES)
    await mesh.settle()
    const verified = verifiesAt(mesh, 1)
    const raw = mesh.peers[1]?.node
    assert(raw !== undefined, 'the peer runs')

    const cut = raw.blocks.scrub({ bytesPerSecond: BYTES_PER_SECOND }).catch(() => 'cut')
    await mesh.advance(PASS_MS * 0.6)
    await mesh.kill(1)
    expect(await cut).toBe('cut')
    const first = [...verified]
    expect(first.length).toBeGreaterThan(FILES * 0.55)
    expect(first.length).toBeLessThan(FILES * 0.65)

    await mesh.restart(1)
    const again = verifiesAt(mesh, 1)
    const startedMs = mesh.clock.monotonicMs()
    const report = await nodeAt(mesh, 1).blocks.scrub({ bytesPerSecond: BYTES_PER_SECOND })
    const tookMs = mesh.clock.monotonicMs() - startedMs

    expect(report.checked).toBe(again.length)
    // What was checked since the journal was written last, 64 arcs at most, is checked again.
    expect(report.checked).toBeLessThanOrEqual(FILES - first.length + 66)
    expect(report.checked).toBeLessThan(FILES * 0.75)
    expect(new Set([...first, ...again]).size).toBe(FILES)
    expect(tookMs).toBeGreaterThanOrEqual((report.bytes / BYTES_PER_SECOND) * 1_000 - 100)
    expect((await nodeAt(mesh, 1).blocks.scrub({ bytesPerSecond: 1e9 })).checked).toBe(FILES)
    await expectReadable(mesh, files.slice(0, 3))
  })

  it('finds and mends what is flipped or lost on every node', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 17 })
    const files = await putFiles(mesh, 12)
    await mesh.settle()
    for (const [number, { cid }] of files.entries()) {
      const id = cid as BlockId
      const victim = ownersIn(mesh, id)[number % 3] as number
      if (number % 2 === 0) faultsOf(mesh, victim).corrupt(id)
      else faultsOf(mesh, victim).lose(id)
      expect(holdersIn(mesh, id)).toHaveLength(2)
    }

    const outcomes = await nodeAt(mesh, 0).scrub()

    const sum = (of: 'damaged' | 'mended'): number =>
      outcomes.reduce((total, { report }) => total + (report?.[of] ?? 0), 0)
    expect([sum('damaged'), sum('mended')]).toEqual([12, 12])
    for (const { cid } of files) {
      expect(holdersIn(mesh, cid as BlockId)).toEqual(ownersIn(mesh, cid as BlockId))
    }
  })
})

describe('same seed, same run', () => {
  it('gives the same trace of frames through losses, kills, joins and puts', async () => {
    const run = async (seed: number): Promise<string> => {
      await using mesh = await simulatedMesh({
        peers: 4,
        seed,
        faults: { lossPerMille: 10, duplicatePerMille: 10, reorderPerMille: 20 }
      })
      const hash = createHash('sha256')
      let frames = 0
      mesh.world.trace = (from, to, bytes) => {
        frames += 1
        hash.update(`${mesh.clock.monotonicMs()} ${from} ${to} ${bytes}\n`)
      }
      await putFiles(mesh, 5)
      await mesh.kill(1)
      await mesh.add()
      await mesh.advance(5_000)
      await mesh.restart(1)
      await mesh.settle()
      expect(frames).toBeGreaterThan(100)
      mesh.world.trace = undefined
      return hash.digest('hex')
    }

    const first = await run(18)
    expect(await run(18)).toBe(first)
    expect(await run(19)).not.toBe(first)
  })
})

/** @returns whole chunks of a file, each another one; quick to make. */
function chunks(count: number, first = 0): Uint8Array {
  const bytes = new Uint8Array(count * MIB)
  const view = new DataView(bytes.buffer)
  for (let number = 0; number < count; number++) view.setUint32(number * MIB, first + number)
  return bytes
}

/** @throws when a file's block has fewer good copies on machines that run than it must have */
function expectCopies(mesh: SimulatedMesh, files: readonly Stored[]): void {
  for (const { cid } of files) {
    const holders = holdersIn(mesh, cid as BlockId).filter(
      (index) => mesh.peers[index]?.node !== undefined
    )
    assert(holders.length >= REPLICATION, `${cid} has copies at ${holders.join(', ')}`)
  }
}

/** @returns the ids that are read at a peer from now on, as they are. */
function readsAt(mesh: SimulatedMesh, index: number): BlockId[] {
  const ids: BlockId[] = []
  const store = mesh.peers[index]?.store
  assert(store !== undefined, 'the peer runs')
  const get = store.get.bind(store)
  store.get = async (id) => {
    ids.push(id)
    return await get(id)
  }
  return ids
}

function writesAt(mesh: SimulatedMesh, index: number): BlockId[] {
  const ids: BlockId[] = []
  const store = mesh.peers[index]?.store
  assert(store !== undefined, 'the peer runs')
  const put = store.put.bind(store)
  store.put = async (id, bytes) => {
    ids.push(id)
    await put(id, bytes)
  }
  return ids
}

function verifiesAt(mesh: SimulatedMesh, index: number): BlockId[] {
  const ids: BlockId[] = []
  const store = mesh.peers[index]?.store
  assert(store !== undefined, 'the peer runs')
  const verify = store.verify.bind(store)
  store.verify = async (id) => {
    ids.push(id)
    return await verify(id)
  }
  return ids
}
