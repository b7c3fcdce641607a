import { describe, expect, it } from 'vitest'
import { peerId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createRandom } from '../../src/base/random.ts'
import { MemoryNetwork } from '../../src/net/memory/memory-network.ts'
import { MemoryWorld, type MemoryFaults } from '../../src/net/memory/memory-world.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { describeNetwork } from '../conformance/network.ts'

const NOTES = '/atoll-test/notes/1.0.0'

function fresh(
  seed: number,
  faults: Partial<MemoryFaults> = {}
): { clock: VirtualClock; world: MemoryWorld; make: () => MemoryNetwork } {
  const clock = new VirtualClock()
  const world = new MemoryWorld({ clock, random: createRandom(seed) }, faults)
  let count = 0
  const make = (): MemoryNetwork => {
    const number = ++count
    return new MemoryNetwork(
      { world, log: silentLogger },
      { peerId: peerId(`peer${number}`), address: `/memory/${number}`, mesh: 'test' }
    )
  }
  return { clock, world, make }
}

let current = fresh(1)
describeNetwork('memory', {
  make: () => Promise.resolve(current.make()),
  run: (work) => current.clock.run(work),
  clear: () => {
    current = fresh(1)
    return Promise.resolve()
  }
})

describe('memory network faults', () => {
  async function flood(seed: number, faults: Partial<MemoryFaults>): Promise<number[]> {
    const { clock, make } = fresh(seed, faults)
    const [a, b] = [make(), make()]
    const heard: number[] = []
    for (const network of [a, b]) {
      network.handle(NOTES, { frameBytesMax: 1_000, servedPerPeerMax: 1_000 }, (body) => {
        heard.push(body[0] as number)
        return new Uint8Array()
      })
      await network.start()
    }
    a.learn(b.peerId, b.addresses())
    for (let index = 0; index < 200; index++)
      void a.notify(b.peerId, NOTES, new Uint8Array([index]))
    await clock.advance(10_000)
    return heard
  }

  it('without faults every frame arrives once and in order', async () => {
    const heard = await flood(3, {})
    expect(heard).toEqual(Array.from({ length: 200 }, (_, index) => index))
  })

  it('loss drops, duplication repeats and reordering overtakes, the same way for the same seed', async () => {
    const lossy = await flood(3, { lossPerMille: 300 })
    expect(lossy.length).toBeGreaterThan(100)
    expect(lossy.length).toBeLessThan(180)

    const doubled = await flood(3, { duplicatePerMille: 300 })
    expect(doubled.length).toBeGreaterThan(220)

    const mixed = await flood(3, { reorderPerMille: 300, delayMsMax: 50 })
    expect(mixed.toSorted((x, y) => x - y)).toEqual(
      Array.from({ length: 200 }, (_, index) => index)
    )
    expect(mixed).not.toEqual(mixed.toSorted((x, y) => x - y))

    expect(await flood(3, { lossPerMille: 300 })).toEqual(lossy)
    expect(await flood(4, { lossPerMille: 300 })).not.toEqual(lossy)
  })

  it('an asymmetric partition stops one direction only, and ends the connection in the end', async () => {
    const { clock, world, make } = fresh(5)
    const [a, b] = [make(), make()]
    const heard: string[] = []
    for (const network of [a, b]) {
      network.handle(NOTES, { frameBytesMax: 1_000, servedPerPeerMax: 10 }, () => {
        heard.push(network.peerId)
        return new Uint8Array()
      })
      await network.start()
    }
    a.learn(b.peerId, b.addresses())
    b.learn(a.peerId, a.addresses())
    await clock.run(a.request(b.peerId, NOTES, new Uint8Array(), { timeoutMs: 1_000 }))
    await clock.run(b.request(a.peerId, NOTES, new Uint8Array(), { timeoutMs: 1_000 }))
    heard.length = 0

    world.block(a.peerId, b.peerId)
    void a.notify(b.peerId, NOTES, new Uint8Array())
    void b.notify(a.peerId, NOTES, new Uint8Array())
    await clock.advance(1_000)
    expect(heard).toEqual([a.peerId])

    await clock.advance(5_000)
    expect(a.connected()).toEqual([])
  })
})
