// What every Network promises. Run on the memory network (virtual time) and on libp2p (loopback).

import { afterEach, describe, expect, it } from 'vitest'
import { isMeshError, MeshError } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/ids.ts'
import type { Admission, Network } from '../../src/net/network.ts'

const ECHO = '/atoll-test/echo/1.0.0'
const OTHER = '/atoll-test/other/1.0.0'
const HELLO = '/atoll-test/hello/1.0.0'
const OPTIONS = { frameBytesMax: 1_048_576, servedPerPeerMax: 4 }

export type NetworkFixture = {
  /** Makes a network that isn't started. */
  make: () => Promise<Network>
  /** Runs time forward (virtual networks) until `work` settles. */
  run: <T>(work: Promise<T>) => Promise<T>
  /** Stops everything that was made. */
  clear: () => Promise<void>
}

export function describeNetwork(name: string, fixture: NetworkFixture): void {
  const { make, run } = fixture

  async function pair(
    prepare: (server: Network) => void = () => {},
    admission?: (self: Network) => Admission
  ): Promise<[Network, Network]> {
    const both: [Network, Network] = [await make(), await make()]
    for (const network of both) {
      if (admission !== undefined) network.setAdmission(admission(network))
      network.handle(HELLO, { ...OPTIONS, beforeHello: true }, () => new Uint8Array([1]))
    }
    prepare(both[1])
    for (const network of both) {
      if (network !== both[1]) network.handle(ECHO, OPTIONS, (body) => body)
      await run(network.start())
    }
    both[0].learn(both[1].peerId, both[1].addresses())
    return both
  }

  function until(network: Network, event: 'onConnected' | 'onDisconnected'): Promise<PeerId> {
    return new Promise((resolve) => {
      const unsubscribe = network[event]((peer) => {
        unsubscribe()
        resolve(peer)
      })
    })
  }

  async function codeOf(work: Promise<unknown>): Promise<string> {
    try {
      await run(work)
      return 'no error'
    } catch (error) {
      return isMeshError(error) ? error.code : String(error)
    }
  }

  describe(`network: ${name}`, () => {
    afterEach(async () => {
      await fixture.clear()
    })

    it('request() returns what the handler answered, and says who asked', async () => {
      const asked: PeerId[] = []
      const [a, b] = await pair((server) =>
        server.handle(ECHO, OPTIONS, (body, { peer }) => {
          asked.push(peer)
          return [body, new Uint8Array([9])]
        })
      )

      const answer = await run(
        a.request(b.peerId, ECHO, [new Uint8Array([1]), new Uint8Array([2])], { timeoutMs: 5_000 })
      )

      expect([...answer]).toEqual([1, 2, 9])
      expect(asked).toEqual([a.peerId])
      expect(a.connected()).toEqual([b.peerId])
    })

    it('request() keeps many in flight and matches each answer to its question', async () => {
      const [a, b] = await pair((server) =>
        server.handle(ECHO, { ...OPTIONS, servedPerPeerMax: 200 }, (body) => body)
      )

      const answers = await run(
        Promise.all(
          Array.from({ length: 100 }, (_, index) =>
            a.request(b.peerId, ECHO, new Uint8Array(1_000).fill(index), { timeoutMs: 10_000 })
          )
        )
      )

      expect(answers.map((answer) => answer[999])).toEqual(Array.from({ length: 100 }, (_, i) => i))
    })

    it('request() carries a body as large as the limit allows, and refuses a larger one', async () => {
      const [a, b] = await pair((server) =>
        server.handle(ECHO, OPTIONS, (body) => body.subarray(0, 3))
      )

      const fits = a.request(b.peerId, ECHO, new Uint8Array(1_048_000).fill(7), {
        timeoutMs: 9_000
      })
      expect([...(await run(fits))]).toEqual([7, 7, 7])

      const over = a.request(b.peerId, ECHO, new Uint8Array(1_048_577), { timeoutMs: 9_000 })
      expect(await codeOf(over)).toBe('too-large')
    })

    it('request() rejects with the code that the handler threw', async () => {
      const [a, b] = await pair((server) =>
        server.handle(ECHO, OPTIONS, () => {
          throw new MeshError('disk-full', 'No room')
        })
      )

      const error = await run(
        a.request(b.peerId, ECHO, new Uint8Array(), { timeoutMs: 5_000 }).catch((e: unknown) => e)
      )

      expect(error).toMatchObject({ code: 'disk-full', message: 'No room' })
    })

    it('request() times out, and the handler is told', async () => {
      const told = Promise.withResolvers<string>()
      const [a, b] = await pair((server) =>
        server.handle(ECHO, OPTIONS, async (body, { signal }) => {
          await new Promise<void>((resolve) => {
            signal.addEventListener('abort', () => {
              told.resolve((signal.reason as MeshError).code)
              resolve()
            })
          })
          return body
        })
      )

      const code = await codeOf(a.request(b.peerId, ECHO, new Uint8Array(), { timeoutMs: 300 }))

      expect(code).toBe('timeout')
      expect(['timeout', 'aborted']).toContain(await run(told.promise))
    })

    it('request() stops at the signal of the caller', async () => {
      const [a, b] = await pair((server) =>
        server.handle(ECHO, OPTIONS, () => new Promise<Uint8Array>(() => {}))
      )
      const controller = new AbortController()
      const work = a.request(b.peerId, ECHO, new Uint8Array(), {
        timeoutMs: 60_000,
        signal: controller.signal
      })
      controller.abort(new MeshError('aborted', 'enough'))

      expect(await codeOf(work)).toBe('aborted')
    })

    it('a peer that asks too much at once is answered overloaded', async () => {
      const release = Promise.withResolvers<Uint8Array>()
      const [a, b] = await pair((server) => server.handle(ECHO, OPTIONS, () => release.promise))
      const works = Array.from({ length: 5 }, () =>
        a.request(b.peerId, ECHO, new Uint8Array(), { timeoutMs: 20_000 })
      )

      const code = await codeOf(Promise.race(works))
      release.resolve(new Uint8Array())

      expect(code).toBe('overloaded')
      const rest = await run(Promise.allSettled(works))
      expect(rest.filter(({ status }) => status === 'fulfilled')).toHaveLength(4)
    })

    it('request() to a peer without an address, or without the protocol, says so', async () => {
      const [a, b] = await pair((server) => server.handle(OTHER, OPTIONS, (body) => body))
      b.learn(a.peerId, a.addresses())
      const unknown = b.request(a.peerId, OTHER, new Uint8Array(), { timeoutMs: 5_000 })
      expect(await codeOf(unknown)).toBe('unsupported-protocol')

      const stranger = await make()
      stranger.handle(ECHO, OPTIONS, (body) => body)
      await run(stranger.start())
      const lost = stranger.request(a.peerId, ECHO, new Uint8Array(), { timeoutMs: 9_000 })
      expect(await codeOf(lost)).toBe('unreachable')
    })

    it('notify() arrives without an answer, and says when the peer is away', async () => {
      const heard = Promise.withResolvers<number>()
      const [a, b] = await pair((server) =>
        server.handle(ECHO, OPTIONS, (body) => {
          heard.resolve(body[0] as number)
          return new Uint8Array()
        })
      )

      expect(await run(a.notify(b.peerId, ECHO, new Uint8Array([5])))).toBe(true)
      expect(await run(heard.promise)).toBe(5)

      await run(b.stop())
      const fresh = await make()
      fresh.handle(ECHO, OPTIONS, (body) => body)
      await run(fresh.start())
      expect(await run(fresh.notify(b.peerId, ECHO, new Uint8Array([5])))).toBe(false)
    })

    it('connections and their end are reported at both sides; pending requests fail at once', async () => {
      const [a, b] = await pair((server) =>
        server.handle(ECHO, OPTIONS, () => new Promise<Uint8Array>(() => {}))
      )
      const connected = until(b, 'onConnected')
      const peer = await run(a.dial(`${b.addresses()[0]}/p2p/${b.peerId}`, { timeoutMs: 5_000 }))
      expect(peer).toBe(b.peerId)
      expect(await run(connected)).toBe(a.peerId)

      const pending = a.request(b.peerId, ECHO, new Uint8Array(), { timeoutMs: 60_000 })
      const code = codeOf(pending)
      const disconnected = until(a, 'onDisconnected')
      await run(a.request(b.peerId, HELLO, new Uint8Array(), { timeoutMs: 5_000 }))
      await run(b.stop())

      expect(await run(disconnected)).toBe(b.peerId)
      expect(await code).toBe('unreachable')
    })

    it('dial() of a dead address, and of this node itself, is refused with the cause', async () => {
      const [a, b] = await pair()
      const dead = `${b.addresses()[0]}`
      await run(b.stop())

      expect(await codeOf(a.dial(dead, { timeoutMs: 5_000 }))).toBe('unreachable')
      const self = `${a.addresses()[0]}/p2p/${a.peerId}`
      expect(await codeOf(a.dial(self, { timeoutMs: 5_000 }))).toBe('invalid-argument')
    })

    it('a peer that was not admitted is served the hello protocol and nothing else', async () => {
      const [a, b] = await pair(
        (server) => server.handle(ECHO, OPTIONS, (body) => body),
        () => ({ isAdmitted: () => false, admit: async () => {} })
      )

      const hello = await run(a.request(b.peerId, HELLO, new Uint8Array(), { timeoutMs: 5_000 }))
      expect([...hello]).toEqual([1])
      const echo = a.request(b.peerId, ECHO, new Uint8Array(), { timeoutMs: 5_000 })
      expect(await codeOf(echo)).toBe('not-admitted')
    })

    it('admit() runs before the first request, and its refusal reaches the caller', async () => {
      const [a, b] = await pair(
        (server) => server.handle(ECHO, OPTIONS, (body) => body),
        () => ({
          isAdmitted: () => false,
          admit: () => Promise.reject(new MeshError('wrong-mesh', 'Another mesh'))
        })
      )

      const work = a.request(b.peerId, ECHO, new Uint8Array(), { timeoutMs: 5_000 })

      expect(await codeOf(work)).toBe('wrong-mesh')
    })

    it('stop() rejects what is pending with stopped, twice without harm', async () => {
      const [a, b] = await pair((server) =>
        server.handle(ECHO, OPTIONS, () => new Promise<Uint8Array>(() => {}))
      )
      const work = a.request(b.peerId, ECHO, new Uint8Array(), { timeoutMs: 60_000 })
      const code = codeOf(work)
      await run(a.request(b.peerId, HELLO, new Uint8Array(), { timeoutMs: 5_000 }))

      await run(a.stop())
      await run(a.stop())

      expect(await code).toBe('stopped')
    })
  })
}
