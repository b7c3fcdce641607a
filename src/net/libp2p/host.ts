// The libp2p host itself: which parts it has, and every limit that it runs under.

import { gossipsub, type GossipSub } from '@libp2p/gossipsub'
import { identify, type Identify } from '@libp2p/identify'
import type { Libp2p, PrivateKey } from '@libp2p/interface'
import { kadDHT, passthroughMapper, type KadDHT } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { ping, type Ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import type { MeshId } from '../../base/ids.ts'
import { CONTROL_FRAME_BYTES_MAX, MEMBER_COUNT_MAX } from '../../base/limits.ts'
import { DAY_MS, KIB, MIB, SECOND_MS } from '../../base/units.ts'
import type { Address } from '../network.ts'
import { withJoinedWrites } from './fewer-writes.ts'
import { withQuickNoise } from './quick-noise.ts'
import { steadyAverages } from './steady-averages.ts'

type HostServices = { identify: Identify; ping: Ping; dht?: KadDHT; gossip?: GossipSub }
export type Host = Libp2p<HostServices>

export type HostOptions = {
  privateKey: PrivateKey
  listen: readonly Address[]
  /** Without one the host has no DHT, no gossip and no local discovery: enough to ask for genesis. */
  mesh?: MeshId | undefined
  mdns: boolean
}

/** Small messages stay fast beside bulk with this window, and a paused stream can't overflow. */
const STREAM_WINDOW_BYTES: number = 256 * KIB
/** How often mDNS asks again, milliseconds. */
const MDNS_INTERVAL_MS: number = 10 * SECOND_MS

steadyAverages()

/** Builds and starts a host. Default limits of libp2p that break a mesh are noted beside each. */
export async function createHost(options: HostOptions): Promise<Host> {
  const { mesh } = options
  return await createLibp2p<HostServices>({
    privateKey: options.privateKey,
    start: false,
    addresses: { listen: [...options.listen] },
    transports: [tcp({ maxConnections: 500, backlog: 128 })],
    connectionEncrypters: [withJoinedWrites(withQuickNoise(noise()))],
    streamMuxers: [
      yamux({
        maxInboundStreams: 1_000,
        maxOutboundStreams: 1_000,
        maxMessageSize: MIB,
        streamOptions: {
          initialStreamWindowSize: STREAM_WINDOW_BYTES,
          maxStreamWindowSize: STREAM_WINDOW_BYTES
        }
      })
    ],
    connectionManager: {
      maxConnections: 400,
      maxParallelDials: 50,
      maxDialQueueLength: 500,
      maxPeerAddrsToDial: 25,
      maxIncomingPendingConnections: 100, // 10: refuses a mesh that restarts at once.
      inboundConnectionThreshold: 1_000, // 5 a second and host: refuses peers behind one address.
      inboundUpgradeTimeout: 5 * SECOND_MS,
      addressDialTimeout: 2 * SECOND_MS, // 6 s: a dead address of a moved peer stalls a dial.
      dialTimeout: 10 * SECOND_MS
    },
    connectionMonitor: { enabled: false }, // See SilenceWatch.
    // An hour and six: the addresses of connected peers would vanish from under the mesh.
    peerStore: { maxAddressAge: 30 * DAY_MS, maxPeerAge: 30 * DAY_MS },
    ...(options.mdns && mesh !== undefined
      ? {
          peerDiscovery: [
            mdns({
              serviceTag: `_atoll-${mesh.slice(0, 16)}._udp.local`,
              interval: MDNS_INTERVAL_MS
            })
          ]
        }
      : {}),
    services: {
      identify: identify({ maxInboundStreams: 4, maxOutboundStreams: 4, maxMessageSize: 8 * KIB }),
      ping: ping({ maxInboundStreams: 4, maxOutboundStreams: 4 }),
      ...(mesh === undefined ? {} : { dht: meshDht(mesh), gossip: meshGossip() })
    }
  })
}

function meshDht(mesh: MeshId): ReturnType<typeof kadDHT> {
  return kadDHT({
    protocol: `/atoll/${mesh.slice(0, 16)}/kad/1.0.0`,
    clientMode: false,
    peerInfoMapper: passthroughMapper, // The default ignores every private address.
    kBucketSize: 64, // findProviders returns no more than this.
    maxInboundStreams: 64,
    maxOutboundStreams: 64,
    initialQuerySelfInterval: 50, // Every query waits for the first self-query.
    allowQueryWithZeroPeers: true
  })
}

function meshGossip(): ReturnType<typeof gossipsub> {
  return gossipsub({
    globalSignaturePolicy: 'StrictSign',
    allowPublishToZeroTopicPeers: true,
    D: 3,
    Dlo: 2,
    Dhi: 4,
    Dout: 1,
    Dscore: 1,
    Dlazy: 3,
    maxInboundDataLength: CONTROL_FRAME_BYTES_MAX,
    maxOutboundBufferSize: 4 * CONTROL_FRAME_BYTES_MAX,
    maxInboundStreams: 4,
    maxOutboundStreams: 4,
    // More than ten peers behind one address would score themselves out of the gossip.
    scoreParams: { IPColocationFactorWeight: 0 },
    decodeRpcLimits: {
      maxSubscriptions: 64,
      maxMessages: 256,
      maxIhaveMessageIDs: 5_000,
      maxIwantMessageIDs: 5_000,
      maxIdontwantMessageIDs: 5_000,
      maxControlMessages: 64,
      maxPeerInfos: MEMBER_COUNT_MAX
    }
  })
}
