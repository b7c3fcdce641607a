// One raw noise + yamux stream between two processes: the ceiling that files are held against.

import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { createHost, type Host } from '../../src/net/libp2p/host.ts'
import { setUpEngine } from './engine.ts'
import { unlikeBytes } from './unlike-bytes.ts'

export type StreamRequest = { do: 'listen' } | { do: 'send'; address: string; bytes: number }
export type StreamAnswer = { error?: string; address?: string; ms?: number }

const PROTOCOL = '/atoll-bench/raw/1.0.0'
const WINDOW_BYTES = 262_144

setUpEngine()
let host: Host | undefined
let outgoing: Stream | undefined

async function start(): Promise<Host> {
  host ??= await createHost({
    privateKey: await generateKeyPair('Ed25519'),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    mdns: false
  })
  return host
}

async function listen(): Promise<StreamAnswer> {
  const listener = await start()
  await listener.handle(PROTOCOL, (stream) => {
    let expected: number | undefined
    let received = 0
    stream.addEventListener('message', (event) => {
      const data = event.data instanceof Uint8Array ? event.data : event.data.subarray()
      if (expected === undefined) {
        expected = new DataView(data.buffer, data.byteOffset).getFloat64(0)
        received -= 8
      }
      received += data.length
      if (received < expected) return
      // The next round begins with its own length.
      stream.send(new Uint8Array([1]))
      expected = undefined
      received = 0
    })
  })
  await listener.start()
  return { address: listener.getMultiaddrs()[0]?.toString() ?? '' }
}

async function send(address: string, bytes: number): Promise<StreamAnswer> {
  const dialler = await start()
  if (outgoing === undefined) {
    await dialler.start()
    outgoing = await dialler.dialProtocol(multiaddr(address), PROTOCOL)
  }
  const stream = outgoing
  const acknowledged = new Promise<void>((resolve) => {
    stream.addEventListener('message', () => resolve(), { once: true })
  })
  const startedMs = performance.now()
  const length = new Uint8Array(8)
  new DataView(length.buffer).setFloat64(0, bytes)
  stream.send(length)
  for (const part of unlikeBytes(bytes, 1)) {
    if (stream.send(part)) continue
    while (stream.writeBufferLength > WINDOW_BYTES) {
      await new Promise<void>((resolve) => {
        stream.addEventListener('drain', () => resolve(), { once: true })
      })
    }
  }
  await acknowledged
  return { ms: performance.now() - startedMs }
}

process.on('message', (request: StreamRequest) => {
  const work = request.do === 'listen' ? listen() : send(request.address, request.bytes)
  work
    .catch((error: unknown): StreamAnswer => ({ error: String(error) }))
    .then((answer) => process.send?.(answer))
    .catch(() => process.exit(1))
})
