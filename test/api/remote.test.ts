// A program that is no node: the services over a real connection to the local API.

import { createServer, request } from 'node:http'
import { connect as dial } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connect } from '../../src/api/remote/connect.ts'
import type { RemoteNode } from '../../src/api/remote/connect.ts'
import { openConnection } from '../../src/api/remote/connection-client.ts'
import { RemoteShards } from '../../src/api/remote/remote-shards.ts'
import { SocketFrameStream } from '../../src/api/remote/socket-frame-stream.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { MeshError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { decodeFrame, encodeFrame } from '../../src/wire/frame.ts'
import type { Frame } from '../../src/wire/frame.ts'
import { decodeShardReply } from '../../src/wire/shard-reply.ts'
import { SYSTEM_GROUP, encodeShardRequest } from '../../src/wire/shard.ts'
import { encode } from '../../src/core/machine/codec.ts'
import { LEASE } from '../../src/core/machine/own-queries.ts'
import { TICK } from '../../src/core/machine/own-operations.ts'
import { systemClock } from '../../src/node/system-clock.ts'
import { Kv } from '../../src/services/kv/kv.ts'
import { compare, op } from '../../src/services/kv/txn.ts'
import { SYSTEM } from '../../src/shard/shards.ts'
import type { Shards } from '../../src/shard/shards.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { LocalApi, Wire } from './local-api.ts'

let api: LocalApi
let mesh: RemoteNode

beforeEach(async () => {
  api = await LocalApi.start()
  mesh = await connect(api.address)
})

afterEach(async () => {
  await mesh.close()
  await api[Symbol.asyncDispose]()
})

describe('kv and locks over a connection', () => {
  it('get, put, txn, list and delete are what they are in a node', async () => {
    const { kv } = mesh
    await kv.put('a/1', 'one')
    await kv.put('b/1', Uint8Array.of(0xff))
    const outcome = await kv.txn([compare.version('a/1', '=', 1)], [op.get('a/1')])

    expect(outcome.succeeded && outcome.results[0]?.text()).toBe('one')
    expect((await kv.get('b/1'))?.value).toEqual(Uint8Array.of(0xff))
    expect(await kv.read('a/none', { stale: true })).toEqual({ revision: 1, entry: undefined })
    const keys: string[] = []
    for await (const { key } of kv.list()) keys.push(key)
    expect(keys).toEqual(['a/1', 'b/1'])
    expect(await kv.delete('a/1')).toMatchObject({ deleted: true })
  })

  it('A-3 errors keep their code, words and details', async () => {
    await mesh.kv.put('a/1', 'x')
    await expect(mesh.kv.put('a/1', 'x', { ifAbsent: true })).rejects.toMatchObject({
      code: 'conflict',
      details: { version: 1 }
    })
    await expect(mesh.kv.put('a/1', 'x', { lease: 7 })).rejects.toMatchObject({
      code: 'not-found',
      message: 'Lease 7 has ended or never was; take a new one'
    })
    await expect(mesh.kv.put('a/1', new Uint8Array(300_000))).rejects.toMatchObject({
      code: 'too-large'
    })
  })

  it('a watch is told of changes, and a lock waits for its turn', async () => {
    const watch = mesh.kv.watch('a/')
    await watch.started
    const first = await mesh.locks.acquire('jobs/a', { owner: 'one' })
    await using other = await connect({ dataDir: api.dataDir })
    const waiting = other.locks.acquire('jobs/a')
    await other.kv.put('a/1', 'x')
    const event = await watch.next()
    expect(event.value?.key).toBe('a/1')
    expect(await other.locks.holder('jobs/a')).toEqual({ owner: 'one', token: first.token })
    await first.release()
    await using second = await waiting
    expect(second.token).toBeGreaterThan(first.token)
  })

  it('close() gives locks back, so that others have them at once', async () => {
    const other = await connect(api.address)
    const lock = await other.locks.acquire('jobs/a', { ttlMs: 60_000 })
    await other.close()
    await other.close()
    expect(lock.lost.reason).toMatchObject({ code: 'stopped' })
    expect(await mesh.locks.tryAcquire('jobs/a')).toBeDefined()
    await expect(other.kv.get('a/1')).rejects.toMatchObject({ code: 'stopped' })
  })

  it('A-2 shards may be named, the system group too', async () => {
    let asked: unknown
    await using own = await LocalApi.start((shards) => ({
      count: shards.count,
      shardOf: (space) => shards.shardOf(space),
      query: async (target, ...rest) => {
        asked = target
        return await shards.query(target, ...rest)
      },
      changes: async (...args) => await shards.changes(...args),
      execute: async (target, ...rest) => {
        asked = target
        return await shards.execute(target, ...rest)
      }
    }))
    const { shards, stop } = await shardsOf(own)
    for (const shard of [SYSTEM, 0, 3] as const) {
      await shards.execute({ shard }, TICK, undefined)
      expect(asked).toEqual({ shard })
      await shards.query({ shard, space: utf8('x') }, LEASE, { lease: 1 })
      expect(asked).toEqual({ shard, space: utf8('x') })
    }
    expect(SYSTEM_GROUP).toBe(0)
    expect([shards.count, shards.shardOf(utf8('x'))]).toEqual([4, own.shards.shardOf(utf8('x'))])
    stop()
  })
})

describe('who may connect', () => {
  it('A-1 another token is refused', async () => {
    const refused = connect({ ...api.address, token: 'x'.repeat(api.address.token.length) })
    await expect(refused).rejects.toMatchObject({ code: 'unauthorized' })
  })

  it('A-1 a web page is refused, whatever it knows', async () => {
    const { api: url, token } = api.address
    const status = await new Promise((resolve) => {
      const headers = {
        authorization: `Bearer ${token}`,
        connection: 'upgrade',
        upgrade: 'atoll-api',
        origin: 'http://evil.example'
      }
      request(`${url}/v1/connect`, { headers })
        .on('response', (response) => {
          response.resume()
          resolve(response.statusCode)
        })
        .on('upgrade', () => resolve(101))
        .end()
    })
    expect(status).toBe(401)
  })

  it('a node without shards says so, and so does what is no node', async () => {
    await using bare = await LocalApi.start(() => undefined)
    await expect(connect(bare.address)).rejects.toMatchObject({ code: 'unsupported-protocol' })
    const server = createServer((_, response) => response.end('hello'))
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const strange = connect({ api: `http://127.0.0.1:${port}`, token: 'x' })
    await expect(strange).rejects.toMatchObject({ code: 'unsupported-protocol' })
    await new Promise((resolve) => void server.close(resolve))
  })

  it('where nobody listens it is unreachable, and what is no URL is refused', async () => {
    await expect(connect({ api: 'http://127.0.0.1:1', token: 'x' })).rejects.toMatchObject({
      code: 'unreachable'
    })
    await expect(connect({ api: 'localhost', token: 'x' })).rejects.toMatchObject({
      code: 'invalid-argument'
    })
    await expect(connect({ dataDir: '/nowhere' })).rejects.toMatchObject({ code: 'unreachable' })
  })
})

describe('a connection that breaks', () => {
  it('A-5 a command under way may have been done, a read is asked again', async () => {
    await using wire = await Wire.to(api.port)
    await using far = await connect({ ...api.address, api: wire.url })
    await far.kv.put('a/1', 'x')
    const applied = Promise.withResolvers<void>()
    api.shards.faults = () => {
      api.shards.latencyMs = () => {
        api.shards.latencyMs = () => {
          applied.resolve()
          return 100
        }
        return 0
      }
      return undefined
    }
    const put = far.kv.put('a/1', 'y')
    const refused = expect(put).rejects.toMatchObject({
      code: 'unreachable',
      message:
        'The connection to the node broke while kv.txn was under way: it may have been done, or not'
    })
    await applied.promise
    wire.cut()
    await refused

    const arrived = Promise.withResolvers<void>()
    api.shards.faults = () => undefined
    api.shards.latencyMs = () => {
      arrived.resolve()
      return 100
    }
    const get = far.kv.get('a/1')
    await arrived.promise
    wire.cut()
    expect((await get)?.version).toBe(2)
    expect(wire.count).toBe(3)
  })

  it('a watch goes on where it was', async () => {
    await using wire = await Wire.to(api.port)
    await using far = await connect({ ...api.address, api: wire.url })
    const watch = far.kv.watch('a/', { fromRevision: 1 })
    const seen: string[] = []
    for (let round = 0; round < 5; round++) {
      const next = watch.next()
      if (round % 2 === 0) wire.cut()
      await mesh.kv.put(`a/${round}`, 'x')
      seen.push((await next).value?.key ?? '')
    }
    expect(seen).toEqual(['a/0', 'a/1', 'a/2', 'a/3', 'a/4'])
    await watch.return()
  })

  it('a node that was restarted is found again by its data folder', async () => {
    await using found = await connect({ dataDir: api.dataDir })
    await found.kv.put('a/1', 'x')
    await api.restart()
    expect((await found.kv.get('a/1'))?.text()).toBe('x')
    await expect(mesh.kv.get('a/1', { timeoutMs: 200 })).rejects.toMatchObject({
      code: 'unreachable'
    })
  })

  it('a node that is restarted at its port is found, though its new token comes a moment later', async () => {
    await using found = await connect({ dataDir: api.dataDir })
    await found.kv.put('a/1', 'x')
    const saved = Promise.withResolvers<void>()
    const restarting = api.restartAtSamePort(saved.promise)
    const get = found.kv.get('a/1')
    await expect(found.kv.get('a/1', { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'unreachable'
    })
    saved.resolve()
    await restarting
    expect((await get)?.text()).toBe('x')
  })

  it('a node that is stopping is one that went away: reads and watches go on when it is back', async () => {
    await mesh.kv.put('a/1', 'x')
    const watch = mesh.kv.watch('a/', { fromRevision: 1 })
    expect((await watch.next()).value?.key).toBe('a/1')
    api.shards.faults = () => new MeshError('stopped', 'The node is stopping')
    await expect(mesh.kv.put('a/2', 'x')).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('may have been done') as string
    })
    const get = mesh.kv.get('a/1')
    const next = watch.next()
    await expect(mesh.kv.get('a/1', { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'unreachable'
    })
    api.shards.faults = () => undefined
    await mesh.kv.put('a/3', 'x')
    expect((await get)?.text()).toBe('x')
    expect((await next).value?.key).toBe('a/3')
    await watch.return()
  })

  it('what was not sent is sent when the node is back', async () => {
    await using wire = await Wire.to(api.port)
    await using far = await connect({ dataDir: api.dataDir })
    await far.kv.put('a/1', 'x')
    const restarting = api.restart()
    const put = far.kv.put('a/1', 'y').catch((error: unknown) => error)
    await restarting
    const outcome = await put
    if (outcome instanceof MeshError) expect(outcome.message).toContain('may have been done')
    expect((await far.kv.put('a/1', 'z')).revision).toBeGreaterThan(1)
    expect(wire.count).toBe(0)
  })
})

describe('deadlines and cancellation', () => {
  it('A-5 a call that is cancelled is cancelled at the node', async () => {
    const given = Promise.withResolvers<AbortSignal>()
    await using own = await LocalApi.start((shards) => ({
      count: shards.count,
      shardOf: (space) => shards.shardOf(space),
      query: async (...args) => await shards.query(...args),
      execute: async (...args) => await shards.execute(...args),
      changes: async (target, query, options) => {
        given.resolve(options.signal as AbortSignal)
        return await shards.changes(target, query, options)
      }
    }))
    await using far = await connect(own.address)
    const controller = new AbortController()
    const next = far.kv.watch('a/', { fromRevision: 1, signal: controller.signal }).next()
    const signal = await given.promise
    controller.abort()
    expect(await next).toEqual({ done: true, value: undefined })
    if (!signal.aborted) {
      await new Promise((resolve) => {
        signal.addEventListener('abort', resolve)
      })
    }
    expect(signal.reason).toMatchObject({ code: 'aborted' })
  })

  it('A-4 the node tells why there was no answer in time', async () => {
    api.shards.isDown = true
    const refused = mesh.kv.get('a/1', { timeoutMs: 150 })
    // The node says how long it tried: what was left of the time when the call reached it.
    await expect(refused).rejects.toMatchObject({
      code: 'no-quorum',
      message: expect.stringMatching(/^No leader answered within \d{1,3} ms$/)
    })
    expect(await mesh.kv.get('a/1', { stale: true })).toBeUndefined()
  })
})

describe('what a connection takes', () => {
  it('A-6 only what programs may ask', async () => {
    const { stream } = await openConnection(api.address, { signal: new AbortController().signal })
    const answered = Promise.withResolvers<Frame>()
    stream.onFrame = (frame) => answered.resolve(frame)
    const { name, version } = LEASE
    const asked = { space: utf8('x'), name, version, args: encode(LEASE.args, { lease: 1 }) }
    const calls = [
      { kind: 'layout', knownVersion: 0 },
      { kind: 'query', target: { group: 1 }, ...asked, isStale: false }
    ] as const
    stream.send({ kind: 'request', id: 1, timeoutMs: 5_000, body: encodeShardRequest(calls) })
    const frame = await answered.promise
    stream.close()
    if (frame.kind !== 'response') throw new Error(`it was answered by ${frame.kind}`)
    expect(decodeShardReply(frame.body, 2)).toMatchObject([
      { kind: 'failed', code: 'unsupported-protocol' },
      { kind: 'done' }
    ])
  })

  it('A-3 what is no request is answered by an error frame, and the connection goes on', async () => {
    const { stream } = await openConnection(api.address, { signal: new AbortController().signal })
    const frames: Frame[] = []
    const both = Promise.withResolvers<void>()
    stream.onFrame = (frame) => {
      if (frames.push(frame) === 2) both.resolve()
    }
    for (const id of [1, 2]) {
      stream.send({ kind: 'request', id, timeoutMs: 5_000, body: Uint8Array.of(0xff) })
    }
    await both.promise
    stream.close()
    expect(frames).toMatchObject([
      { kind: 'error', code: 'invalid-data' },
      { kind: 'error', code: 'invalid-data' }
    ])
  })

  it('a request that comes with the upgrade is not lost', async () => {
    const { token } = api.address
    const call = { kind: 'layout', knownVersion: 0 } as const
    const body = encodeShardRequest([call])
    const socket = dial(api.port, '127.0.0.1')
    const head = `GET /v1/connect HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${token}\r\n`
    const upgrade = 'connection: upgrade\r\nupgrade: atoll-api\r\n\r\n'
    const frame = encodeFrame({ kind: 'request', id: 7, timeoutMs: 5_000, body })
    socket.write(Buffer.concat([Buffer.from(head + upgrade), frame]))
    let answer = Buffer.alloc(0)
    for await (const chunk of socket) {
      answer = Buffer.concat([answer, chunk as Buffer])
      const at = answer.indexOf('\r\n\r\n') + 4
      if (answer.length > at + 4 && answer.length >= at + 4 + answer.readUInt32BE(at)) {
        expect(answer.subarray(0, at).toString()).toContain('atoll-shards: 4\r\n')
        expect(decodeFrame(answer.subarray(at + 4))).toMatchObject({ kind: 'response', id: 7 })
        break
      }
    }
    expect.assertions(2)
  })

  it('a frame that is never complete ends it', async () => {
    const { socket } = fakeSocket()
    const clock = new VirtualClock()
    const stream = new SocketFrameStream({ socket, clock }, { frameBytesMax: 1_000 })
    const reasons: unknown[] = []
    stream.onClose = (reason) => reasons.push(reason)
    socket.push(Uint8Array.of(0, 0, 0, 9, 4))
    await clock.advance(29_000)
    expect(reasons).toEqual([])
    await clock.advance(1_000)
    expect(reasons).toMatchObject([{ code: 'timeout' }])
    await expect(stream.drained()).resolves.toBeUndefined()
  })

  it('a frame that is too long ends it', async () => {
    const { stream } = await openConnection(api.address, { signal: new AbortController().signal })
    const closed = Promise.withResolvers<void>()
    stream.onClose = () => closed.resolve()
    stream.send({ kind: 'notice', body: new Uint8Array(3 * 1_048_576) })
    await closed.promise
    expect(stream.isClosed).toBe(true)
  })
})

describe('many at once', () => {
  it('256 puts side by side are all done, and what comes back is what was put', async () => {
    const indexes = Array.from({ length: 256 }, (_, index) => index)
    for (let round = 0; round < 3; round++) {
      const put = indexes.map(
        async (index) => await mesh.kv.put(`s${index % 16}/${index}`, `${round}`)
      )
      await Promise.all(put)
    }
    const found = await mesh.kv.listPage()
    expect(found.entries).toHaveLength(256)
    expect(found.entries.every((entry) => entry.version === 3 && entry.text() === '2')).toBe(true)
  })

  it('what is asked in one turn of the event loop is one write', async () => {
    const { socket, writes } = fakeSocket()
    const clock = new VirtualClock()
    const stream = new SocketFrameStream({ socket, clock }, { frameBytesMax: 1_000 })
    const open = async (): Promise<never> => await Promise.reject(new Error('one is enough'))
    const shards = new RemoteShards({ open, clock, log: silentLogger }, { stream, shardCount: 4 })
    const kv = new Kv({ shards, clock, log: silentLogger })

    const puts = Array.from({ length: 256 }, async (_, index) => await kv.put(`a/${index}`, 'x'))
    const ended = Promise.allSettled(puts)
    await new Promise((resolve) => void setImmediate(resolve))

    expect(writes).toHaveLength(1)
    expect(writes[0]).toBeGreaterThan(256 * 30)
    shards.stop()
    expect((await ended).every(({ status }) => status === 'rejected')).toBe(true)
  })
})

/** A socket to nowhere, with the lengths of what is written to it. */
function fakeSocket(): { socket: Socket; writes: number[] } {
  const writes: number[] = []
  const duplex = new Duplex({
    read: () => {},
    write: (chunk: Uint8Array, _, done) => {
      writes.push(chunk.length)
      done()
    }
  })
  const socket = duplex as Socket
  socket.setNoDelay = () => socket
  socket.setTimeout = () => socket
  socket.destroySoon = () => void socket.destroy()
  return { socket, writes }
}

async function shardsOf(own: LocalApi): Promise<{ shards: Shards; stop: () => void }> {
  const signal = new AbortController().signal
  const open = async (): ReturnType<typeof openConnection> => {
    return await openConnection(own.address, { signal })
  }
  const components = { open, clock: systemClock, log: silentLogger }
  const shards = new RemoteShards(components, await open())
  return { shards, stop: () => shards.stop() }
}
