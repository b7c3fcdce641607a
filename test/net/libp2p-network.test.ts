import { generateKeyPair } from '@libp2p/crypto/keys'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/node/system-clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { MIB } from '../../src/base/units.ts'
import { createLibp2pNetwork } from '../../src/net/libp2p/libp2p-network.ts'
import type { Network } from '../../src/net/network.ts'
import { describeNetwork } from '../conformance/network.ts'

let made: Network[] = []

async function make(): Promise<Network> {
  const network = await createLibp2pNetwork(
    { clock: systemClock, log: silentLogger },
    {
      privateKey: await generateKeyPair('Ed25519'),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      mdns: false
    }
  )
  made.push(network)
  return network
}

async function clear(): Promise<void> {
  await Promise.all(made.map((network) => network.stop()))
  made = []
}

describeNetwork('libp2p', { make, run: (work) => work, clear })

describe('a queue of a stream', () => {
  afterEach(clear)

  it('notify() that waits for room lets others go first', async () => {
    const NOTES = '/atoll-test/notes/1.0.0'
    const heard: number[] = []
    const all = Promise.withResolvers<void>()
    const [a, b] = [await make(), await make()]
    for (const network of [a, b]) {
      network.handle(NOTES, { frameBytesMax: 2 * MIB, servedPerPeerMax: 100 }, (body) => {
        heard.push(body[0] as number)
        if (heard.length === 7) all.resolve()
        return new Uint8Array()
      })
      await network.start()
    }
    a.learn(b.peerId, b.addresses())
    const note = (number: number, bytes = 1): Uint8Array => new Uint8Array(bytes).fill(number)
    await a.notify(b.peerId, NOTES, note(0))

    const sent = [1, 2, 3, 4].map((number) => a.notify(b.peerId, NOTES, note(number, MIB)))
    const waits = a.notify(b.peerId, NOTES, note(6), { waitsForRoom: true })
    sent.push(a.notify(b.peerId, NOTES, note(5)), waits)

    expect(await Promise.all(sent)).toEqual(sent.map(() => true))
    await all.promise
    expect(heard).toEqual([0, 1, 2, 3, 4, 5, 6])
  })
})
