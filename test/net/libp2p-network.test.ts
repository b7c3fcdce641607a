import { generateKeyPair } from '@libp2p/crypto/keys'
import { systemClock } from '../../src/node/system-clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createLibp2pNetwork } from '../../src/net/libp2p/libp2p-network.ts'
import type { Network } from '../../src/net/network.ts'
import { describeNetwork } from '../conformance/network.ts'

let made: Network[] = []

describeNetwork('libp2p', {
  make: async () => {
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
  },
  run: (work) => work,
  clear: async () => {
    await Promise.all(made.map((network) => network.stop()))
    made = []
  }
})
