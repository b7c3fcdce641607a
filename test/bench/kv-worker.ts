// A process of the bench of kv: a node with clients inside, or clients of one, or of etcd.

import { connect } from '../../src/api/remote/connect.ts'
import { serveHttpApi } from '../../src/api/http-server.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createNode, type LocalNode } from '../../src/node/create-node.ts'
import type { Kv } from '../../src/services/kv/kv.ts'
import { setUpEngine } from './engine.ts'
import { EtcdClient } from './etcd-client.ts'
import { applyLoad, fill, longestGap } from './kv-load.ts'
import type { KvTarget, Load, LoadFigures } from './kv-load.ts'
import { Profile } from './profile.ts'

export type KvRequest =
  | { do: 'node'; dataDir: string; join: string[]; shards: number }
  | { do: 'connect'; api: string; token: string }
  | { do: 'etcd'; url: string }
  /** Puts every key, so that gets find them. */
  | { do: 'fill' }
  | { do: 'load'; load: Load }
  /** What the node has of the groups. */
  | { do: 'groups' }
  /** Writes to these shards, or to wherever the first key is, and finds the longest gap of each. */
  | { do: 'gaps'; shards: number[]; ms: number }
  | { do: 'profile' }
  | { do: 'profiled' }

export type KvAnswer = {
  error?: string
  address?: string
  api?: string
  token?: string
  figures?: LoadFigures
  /** Whether the members of all groups that are led here are as they should be. */
  isSettled?: boolean
  /** How many groups have a replica here, and which shards are led from here. */
  replicas?: number
  leads?: number[]
  gapsMs?: number[]
  lines?: string[]
}

setUpEngine()
let node: LocalNode | undefined
let target: KvTarget | undefined
let profile: Profile | undefined

async function perform(request: KvRequest): Promise<KvAnswer> {
  if (request.do === 'node') return await startNode(request)
  if (request.do === 'connect') target = targetOf((await connect(request)).kv)
  if (request.do === 'etcd') target = etcdTarget(await EtcdClient.connect(request.url))
  if (request.do === 'groups') return groups()
  if (request.do === 'profile') profile = await Profile.start()
  if (request.do === 'profiled') return { lines: (await profile?.stop()) ?? [] }
  if (target === undefined) throw new Error('There is nothing to put to yet')
  if (request.do === 'fill') await fill(target)
  if (request.do === 'load') return { figures: await applyLoad(target, request.load) }
  if (request.do === 'gaps') return await gaps(target, request)
  return {}
}

async function startNode(request: KvRequest & { do: 'node' }): Promise<KvAnswer> {
  const { dataDir, join, shards } = request
  node = await createNode({ dataDir, join, shards, capacityBytes: 1e9, preset: 'local' })
  target = targetOf(node.kv)
  const local = { host: '127.0.0.1', port: 0 }
  const { url, token } = await serveHttpApi({ node, log: silentLogger }, local)
  return { address: node.addresses[0] ?? '', api: url, token }
}

function groups(): KvAnswer {
  if (node === undefined) throw new Error('There is no node yet')
  const { shardLayer } = node
  const replicas = [...shardLayer.host.replicas()]
  // The first group keeps the layouts.
  const leads = replicas.filter(({ isLeader }) => isLeader).map(({ group }) => group - 1)
  return { isSettled: shardLayer.isSettled, replicas: replicas.length, leads }
}

async function gaps(to: KvTarget, { shards, ms }: KvRequest & { do: 'gaps' }): Promise<KvAnswer> {
  const value = new Uint8Array(128)
  const spaces = shards.length === 0 ? ['space-0'] : shards.map(spaceIn)
  const gapsMs = await Promise.all(
    spaces.map((space) => longestGap((number) => to.put(`${space}/gap-${number % 8}`, value), ms))
  )
  return { gapsMs }
}

function spaceIn(shard: number): string {
  for (let number = 0; ; number++) {
    const space = `space-${number}`
    if (node?.shards.shardOf(Buffer.from(space)) === shard) return space
  }
}

function targetOf(kv: Kv): KvTarget {
  return {
    put: (key, value) => kv.put(key, value),
    get: async (key) => (await kv.get(key)) !== undefined
  }
}

function etcdTarget(client: EtcdClient): KvTarget {
  return {
    put: (key, value) => client.put(key, value),
    get: async (key) => (await client.get(key)) !== undefined
  }
}

// Whoever started it is gone.
process.on('disconnect', () => process.exit(0))
process.on('message', (request: KvRequest) => {
  perform(request)
    .catch((error: unknown): KvAnswer => ({ error: String(error) }))
    .then((answer) => process.send?.(answer))
    .catch(() => process.exit(1))
})
