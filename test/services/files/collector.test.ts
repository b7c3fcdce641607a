// The collection: what was deleted comes back, and no live block goes.

import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../../src/base/errors.ts'
import { sleep } from '../../../src/base/clock.ts'
import { createRandom } from '../../../src/base/random.ts'
import { MIB } from '../../../src/base/units.ts'
import type { FileSource } from '../../../src/services/files/files.ts'
import { contentOf, FileMesh } from './file-mesh.ts'

const MINUTE_MS = 60_000

describe('space', () => {
  it('of what was deleted comes back everywhere within 15 minutes, by itself', async () => {
    await using mesh = await FileMesh.start(4)
    const { files } = mesh.peer(1)
    const kept = await mesh.run(files.put('vol/kept', contentOf(1)))
    await mesh.run(files.put('vol/removed', contentOf(2, 2.5 * MIB)))
    await mesh.run(files.put('vol/replaced', contentOf(3)))
    await mesh.run(files.mkdir('vol/tree/deep'))
    await mesh.run(files.put('vol/tree/deep/f', contentOf(4)))
    const pinned = await mesh.run(files.put(contentOf(5)))
    const unpinned = await mesh.run(files.put(contentOf(6)))
    expect(mesh.stored().size).toBe(1 + 4 + 1 + 1 + 1 + 1)

    await mesh.run(files.rm('vol/removed'))
    const replacement = await mesh.run(files.put('vol/replaced', contentOf(7), { replace: true }))
    await mesh.run(files.rm('vol/tree', { recursive: true }))
    await mesh.run(files.rm(unpinned.cid))
    await mesh.clock.advance(15 * MINUTE_MS)

    expect([...mesh.stored()].toSorted()).toEqual(
      [kept.cid, replacement.cid, pinned.cid].toSorted()
    )
    expect(await mesh.read('vol/kept', 3)).toEqual(contentOf(1))
    expect(await mesh.read('vol/replaced')).toEqual(contentOf(7))
    expect(await mesh.read(pinned.cid)).toEqual(contentOf(5))
  })

  it('of a put that failed comes back, and of one whose writer died', async () => {
    await using mesh = await FileMesh.start(4)
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield contentOf(1, 2 * MIB)
      yield contentOf(2, MIB)
      await Promise.resolve()
      throw new Error('the source broke')
    }

    await expect(mesh.run(mesh.peer(1).files.put('vol/f', broken()))).rejects.toThrow('broke')
    mesh.shards.faults = (name) => (name === 'file.put' ? 'lost-request' : undefined)
    const dying = mesh.peer(2).files.put('vol/g', contentOf(3))
    dying.catch(() => undefined)
    await mesh.clock.advance(1_000)
    await mesh.kill(2)
    mesh.shards.faults = () => undefined
    expect(mesh.stored().size).toBeGreaterThan(0)
    await mesh.add(2)
    await mesh.clock.advance(15 * MINUTE_MS)

    expect(mesh.stored().size).toBe(0)
  })

  it('comes back at a node that was away meanwhile, once it is back', async () => {
    await using mesh = await FileMesh.start(5)
    const { cid } = await mesh.run(mesh.peer(0).files.put('vol/f', contentOf(1)))
    const holder = mesh.peers.findIndex(({ disk }) => disk.blocks.has(cid as never))
    await mesh.kill(holder)
    const other = holder === 0 ? 1 : 0
    await mesh.run(mesh.peer(other).files.rm('vol/f'))
    await mesh.clock.advance(20 * MINUTE_MS)
    expect(mesh.copies(cid)).toBe(1)

    await mesh.add(holder)
    await mesh.clock.advance(20 * MINUTE_MS)

    expect(mesh.copies(cid)).toBe(0)
  })

  it('comes back while an owner stays away and holders keep looking at what it lacks', async () => {
    await using mesh = await FileMesh.start(5)
    await mesh.kill(4)
    const cids: string[] = []
    for (let index = 0; index < 20; index++) {
      const { cid } = await mesh.run(mesh.peer(0).files.put(`vol/${index}`, contentOf(index)))
      cids.push(cid)
    }
    await mesh.clock.advance(5_000)
    expect(mesh.peers.some(({ blocks }) => blocks.status().underReplicated > 0)).toBe(true)

    await mesh.run(mesh.peer(1).files.mv('vol/0', 'vol/kept'))
    for (let index = 1; index < 20; index++) await mesh.run(mesh.peer(1).files.rm(`vol/${index}`))
    await mesh.clock.advance(15 * MINUTE_MS)

    expect([...mesh.stored()]).toEqual([cids[0]])
    await mesh.add(4)
    await mesh.clock.advance(MINUTE_MS)
    expect(mesh.copies(cids[0] as string)).toBe(3)
  })

  it('comes back although copies move meanwhile, once the layout stands still', async () => {
    await using mesh = await FileMesh.start(6)
    for (let index = 0; index < 30; index++) {
      await mesh.run(mesh.peer(0).files.put(`vol/${index}`, contentOf(index)))
    }
    for (let index = 3; index < 30; index++) await mesh.run(mesh.peer(0).files.rm(`vol/${index}`))

    for (let minute = 0; minute < 7; minute++) {
      mesh.setOwners(minute % 2 === 0 ? [0, 1, 2, 3] : [2, 3, 4, 5])
      await mesh.clock.advance(MINUTE_MS)
    }
    await mesh.clock.advance(15 * MINUTE_MS)

    expect(mesh.stored().size).toBe(3)
    for (const name of ['0', '1', '2']) {
      expect(await mesh.read(`vol/${name}`, 5)).toEqual(contentOf(Number(name)))
    }
  })
})

describe('a collection', () => {
  it('is not run while nothing was written or let go of', async () => {
    await using mesh = await FileMesh.start(3)
    await mesh.run(mesh.peer(0).files.put('vol/f', contentOf(1)))
    await mesh.clock.advance(30 * MINUTE_MS)
    mesh.shards.calls.length = 0

    await mesh.clock.advance(20 * MINUTE_MS)

    expect(new Set(mesh.shards.calls)).toEqual(new Set(['file.collection']))
    expect(mesh.shards.calls.length).toBeLessThanOrEqual(3 * 3 * 4)
    await mesh.run(mesh.peer(2).files.rm('vol', { recursive: true }))
    await mesh.clock.advance(15 * MINUTE_MS)
    expect(mesh.stored().size).toBe(0)
  })

  it('C-3 deletes nothing when a shard does not answer, at any step', async () => {
    for (const failing of ['file.cycle', 'state.scan', 'file.collection', 'lock.acquire']) {
      await using mesh = await FileMesh.start(3, { collector: { intervalMs: 1e9 } })
      await mesh.run(mesh.peer(0).files.put('vol/f', contentOf(1)))
      await mesh.run(mesh.peer(0).files.rm('vol/f'))
      let calls = 0
      mesh.shards.faults = (name) =>
        name === failing && ++calls % 3 === 2 ? 'lost-request' : undefined

      const codes: (string | undefined)[] = []
      for (let cycle = 0; cycle < 4; cycle++) {
        codes.push(await mesh.codeOf(mesh.peer(0).collector.collect({ isForced: true })))
      }

      expect(
        codes.some((code) => code !== undefined),
        failing
      ).toBe(true)
      if (failing !== 'lock.acquire') expect(mesh.stored().size, failing).toBe(1)
      mesh.shards.faults = () => undefined
      await mesh.cycles(3)
      expect(mesh.stored().size, failing).toBe(0)
    }
  })

  it('C-3 deletes nothing when an inner node cannot be read', async () => {
    await using mesh = await FileMesh.start(3, { collector: { intervalMs: 1e9 } })
    const { cid } = await mesh.run(mesh.peer(0).files.put('vol/big', contentOf(1, 2 * MIB)))
    await mesh.run(mesh.peer(0).files.put('vol/f', contentOf(2)))
    await mesh.run(mesh.peer(0).files.rm('vol/f'))
    const before = mesh.stored().size
    for (const { store } of mesh.peers) store.faults.lose(cid as never)

    for (let cycle = 0; cycle < 4; cycle++) {
      const collecting = mesh.peer(1).collector.collect({ isForced: true })
      await expect(mesh.run(collecting)).rejects.toMatchObject({
        code: 'not-found',
        message: expect.stringContaining('vol/…/big') as string
      })
    }

    expect(mesh.stored().size).toBe(before - 1)
  })

  it('C-5 deletes nothing at a node that started since the cycle before', async () => {
    await using mesh = await FileMesh.start(3, { collector: { intervalMs: 1e9 } })
    const { cid } = await mesh.run(mesh.peer(0).files.put('vol/f', contentOf(1)))
    await mesh.run(mesh.peer(0).files.rm('vol/f'))
    await mesh.cycles(1)

    await mesh.kill(2)
    await mesh.add(2)
    await mesh.cycles(1)
    expect(mesh.copies(cid)).toBe(1)
    await mesh.cycles(1)

    expect(mesh.copies(cid)).toBe(0)
  })

  it('by two collectors at once harms nothing, lock or not', async () => {
    await using mesh = await FileMesh.start(4, { collector: { intervalMs: 1e9 } })
    const kept = await mesh.run(mesh.peer(0).files.put('vol/kept', contentOf(1)))
    await mesh.run(mesh.peer(0).files.put('vol/f', contentOf(2)))
    await mesh.run(mesh.peer(0).files.rm('vol/f'))
    for (let round = 0; round < 10; round++) {
      const all = mesh.peers.map(({ collector }) => collector.collect({ isForced: true }))
      const reports = await mesh.run(Promise.all(all))
      expect(reports.filter((report) => report !== undefined)).toHaveLength(1)
    }

    expect([...mesh.stored()]).toEqual([kept.cid])
  })
})

describe('a put', () => {
  /** Runs cycles directly before the named call of the put, once. */
  async function raced(
    mesh: FileMesh,
    { step, count }: { step: string; count: number },
    source: FileSource
  ): Promise<string | undefined> {
    let isDone = false
    mesh.before = async (name) => {
      if (name !== step || isDone) return
      isDone = true
      for (let cycle = 0; cycle < count; cycle++) {
        await mesh.peer(3).collector.collect({ isForced: true })
      }
    }
    return await mesh.codeOf(mesh.peer(1).files.put('vol/new', source))
  }

  const atHand = (): FileSource => contentOf(1)
  const stream = async function* (): AsyncGenerator<Uint8Array> {
    await Promise.resolve()
    yield contentOf(1)
  }
  const races = ['file.collection', 'file.put'].flatMap((step) =>
    [0, 1, 2, 3, 4, 5].map((count) => ({ step, count }))
  )
  it.each(races)('C-8 races $count cycles before $step and wins', async (race) => {
    for (const source of [atHand, stream]) {
      await using mesh = await FileMesh.start(4, { collector: { intervalMs: 1e9 } })
      await mesh.run(mesh.peer(0).files.put('vol/old', contentOf(1)))
      await mesh.cycles(2)
      await mesh.run(mesh.peer(0).files.rm('vol/old'))

      expect(await raced(mesh, race, source())).toBeUndefined()
      await mesh.cycles(4)

      expect(await mesh.read('vol/new', 2)).toEqual(contentOf(1))
      expect(mesh.stored().size).toBe(1)
    }
  })

  it('C-8 whose writer hears of no cycle fails clearly, or is written again', async () => {
    for (const source of [atHand, stream]) {
      await using mesh = await FileMesh.start(5, { collector: { intervalMs: 1e9 } })
      const { cid } = await mesh.run(mesh.peer(0).files.put(contentOf(1)))
      await mesh.run(mesh.peer(0).files.rm(cid))
      const view = mesh.peers.findIndex(({ disk }) => !disk.blocks.has(cid as never))
      const deaf = mesh.peer(view)
      deaf.blocks.collection.onSwept = () => () => undefined

      mesh.before = async (name) => {
        if (name !== 'file.put') return
        mesh.before = () => Promise.resolve()
        const other = view === 0 ? 1 : 0
        for (let cycle = 0; cycle < 4; cycle++) {
          await mesh.peer(other).collector.collect({ isForced: true })
        }
        expect(mesh.copies(cid)).toBe(0)
      }
      const code = await mesh.codeOf(deaf.files.put('vol/new', source()))

      expect(code).toBe(source === atHand ? undefined : 'conflict')
      if (source === atHand) expect(await mesh.read('vol/new', 2)).toEqual(contentOf(1))
      else expect(await mesh.codeOf(deaf.files.stat('vol/new'))).toBe('not-found')
    }
  })

  it('C-9 that takes longer than many cycles keeps its first blocks', async () => {
    await using mesh = await FileMesh.start(4, { collector: { intervalMs: 1e9 } })
    const parts = Array.from({ length: 26 }, (_, part) => contentOf(part, MIB))
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      for (const [index, part] of parts.entries()) {
        yield part
        if (index < 22) continue
        for (let cycle = 0; cycle < 3; cycle++) {
          await mesh.peer(0).collector.collect({ isForced: true })
          await sleep(mesh.clock, 100)
        }
      }
    }

    await mesh.run(mesh.peer(1).files.put('vol/slow', slow()))
    await mesh.cycles(4)

    expect(Buffer.compare(await mesh.read('vol/slow'), Buffer.concat(parts))).toBe(0)
  }, 30_000)

  it('in the middle of 200 cycles of deleting the same content is never damaged', async () => {
    await using mesh = await FileMesh.start(4, { collector: { intervalMs: 1e9 } })
    const random = createRandom(7)
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    /** What each name must lead to. */
    const model = new Map<string, number>()
    const stop = new AbortController()
    let puts = 0
    const work = async (index: number): Promise<void> => {
      const { files } = mesh.peer(index)
      while (!stop.signal.aborted) {
        // Each worker has names of its own, and all share few contents.
        const name = `vol${index}/${names[random.below(names.length)]}`
        const content = random.below(12)
        await sleep(mesh.clock, random.below(40))
        if (random.below(3) === 0) {
          await files.rm(name).catch((error: unknown) => {
            if (!isMeshError(error, 'not-found')) throw error
          })
          model.delete(name)
        } else {
          await files.put(name, contentOf(content), { replace: true })
          model.set(name, content)
          puts += 1
        }
        if (random.below(20) === 0) await read(name, index)
      }
    }
    const read = async (name: string, index: number): Promise<void> => {
      const content = model.get(name)
      if (content === undefined) return
      const parts: Uint8Array[] = []
      for await (const part of mesh.peer(index).files.get(name)) parts.push(part)
      expect(Buffer.concat(parts).equals(contentOf(content))).toBe(true)
    }
    mesh.shards.latencyMs = () => random.below(20)

    const workers = [0, 1, 2, 3].map(work)
    const cycles = (async () => {
      let deleted = 0
      for (let cycle = 0; cycle < 200; cycle++) {
        const report = await mesh.peer(cycle % 4).collector.collect({ isForced: true })
        deleted += report?.deleted ?? 0
      }
      stop.abort()
      return deleted
    })()
    const deleted = await mesh.run(cycles)
    await mesh.run(Promise.all(workers))

    expect(puts).toBeGreaterThan(200)
    expect(deleted).toBeGreaterThan(20)
    for (const [name, content] of model) {
      expect(await mesh.read(name, random.below(4)), name).toEqual(contentOf(content))
    }
    for (const name of model.keys()) await mesh.run(mesh.peer(0).files.rm(name))
    await mesh.cycles(3)
    expect(mesh.stored().size).toBe(0)
  }, 60_000)
})
