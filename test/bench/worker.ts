// A bench's process of its own: started with fork(), told what to do by messages.

import { createNode, type LocalNode } from '../../src/node/create-node.ts'
import { setUpEngine } from './engine.ts'
import { Profile } from './profile.ts'
import { unlikeBytes } from './unlike-bytes.ts'

export type WorkerRequest =
  | { do: 'node'; dataDir: string; join: string[]; capacityBytes: number }
  | { do: 'put'; bytes: number; seed: number }
  | { do: 'get'; cid: string }
  /** Begins to watch where the time goes. */
  | { do: 'profile' }
  /** Ends that, and says it. */
  | { do: 'profiled' }
  | { do: 'stop' }

export type WorkerAnswer = {
  error?: string
  address?: string
  cid?: string
  /** How long it took. */
  ms?: number
  /** Until the first bytes came. */
  firstMs?: number
  bytes?: number
  /** Resident memory at the start, and at most since. */
  rssBefore?: number
  rssPeak?: number
  /** Where the time went, and the processor's time in ms, since `profile`. */
  lines?: string[]
  cpuMs?: number
}

setUpEngine()
let node: LocalNode | undefined
let profile: { readonly taken: Profile; readonly cpu: NodeJS.CpuUsage } | undefined

async function perform(request: WorkerRequest): Promise<WorkerAnswer> {
  if (request.do === 'node') {
    const { dataDir, join, capacityBytes } = request
    node = await createNode({ dataDir, join, capacityBytes, preset: 'local' })
    return { address: node.addresses[0] ?? '' }
  }
  if (node === undefined) throw new Error('There is no node yet')
  if (request.do === 'put') return await put(node, request.bytes, request.seed)
  if (request.do === 'get') return await get(node, request.cid)
  if (request.do === 'profile') {
    profile = { taken: await Profile.start(), cpu: process.cpuUsage() }
    return {}
  }
  if (request.do === 'profiled') return await profiled()
  await node.stop()
  return {}
}

async function profiled(): Promise<WorkerAnswer> {
  if (profile === undefined) throw new Error('Nothing was watched')
  const { user, system } = process.cpuUsage(profile.cpu)
  const lines = await profile.taken.stop()
  profile = undefined
  return { lines, cpuMs: (user + system) / 1_000 }
}

async function put(running: LocalNode, bytes: number, seed: number): Promise<WorkerAnswer> {
  const rssBefore = process.memoryUsage.rss()
  let rssPeak = rssBefore
  const watch = setInterval(() => {
    rssPeak = Math.max(rssPeak, process.memoryUsage.rss())
  }, 20)
  const startedMs = performance.now()
  const { cid } = await running.files.put(unlikeBytes(bytes, seed))
  const ms = performance.now() - startedMs
  clearInterval(watch)
  return { cid, ms, bytes, rssBefore, rssPeak }
}

async function get(running: LocalNode, cid: string): Promise<WorkerAnswer> {
  const startedMs = performance.now()
  let firstMs: number | undefined
  let bytes = 0
  for await (const part of running.files.get(cid)) {
    firstMs ??= performance.now() - startedMs
    bytes += part.length
  }
  return { ms: performance.now() - startedMs, firstMs: firstMs ?? 0, bytes }
}

process.on('message', (request: WorkerRequest) => {
  perform(request)
    .catch((error: unknown): WorkerAnswer => ({ error: String(error) }))
    .then((answer) => {
      process.send?.(answer)
      if (request.do === 'stop') process.exit(0)
    })
    .catch(() => process.exit(1))
})
