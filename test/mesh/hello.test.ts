import { describe, expect, it } from 'vitest'
import { meshId, peerId, sessionId, storeId } from '../../src/base/ids.ts'
import type { SessionId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { HelloExchange } from '../../src/mesh/hello.ts'
import type { Network, RequestHandler } from '../../src/net/network.ts'
import { encodeHello } from '../../src/wire/hello.ts'

const peer = peerId('12D3KooWpeer')
const mesh = meshId('a'.repeat(64))
const session = (digit: string): SessionId => sessionId(digit.repeat(16))

const helloOf = (from: SessionId): Uint8Array =>
  encodeHello({
    versionMin: 1,
    versionMax: 1,
    meshId: mesh,
    storeId: storeId('0'.repeat(32)),
    session: from,
    incarnation: 1,
    agent: 'test',
    signedGenesis: undefined
  })

/** A network of which the test gives every answer itself. */
function scripted(): {
  exchange: HelloExchange
  questions: { answer: (from: SessionId) => void }[]
  says: (from: SessionId) => Promise<void>
  forgotten: string[]
} {
  const questions: { answer: (from: SessionId) => void }[] = []
  const forgotten: string[] = []
  let handler: RequestHandler | undefined
  const network = {
    setAdmission: () => {},
    onDisconnected: () => () => {},
    handle: (_protocol: string, _options: unknown, given: RequestHandler) => {
      handler = given
    },
    request: () =>
      new Promise<Uint8Array>((resolve) => {
        questions.push({ answer: (from) => resolve(helloOf(from)) })
      }),
    forget: (one: string) => {
      forgotten.push(one)
      return Promise.resolve()
    }
  } as unknown as Network
  const exchange = new HelloExchange({
    network,
    log: silentLogger,
    self: () => ({
      meshId: mesh,
      storeId: storeId('1'.repeat(32)),
      session: session('f'),
      incarnation: 1,
      agent: 'test'
    }),
    signedGenesis: new Uint8Array(0),
    refusal: () => undefined,
    onCloned: () => {},
    onEvicted: () => {}
  })
  const says = async (from: SessionId): Promise<void> => {
    await handler?.(helloOf(from), { peer, signal: new AbortController().signal })
  }
  return { exchange, questions, says, forgotten }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('H-7 which session answers', () => {
  it('an answer that lay unread while the peer restarted is no sign of a second node', async () => {
    const { exchange, questions, says, forgotten } = scripted()
    await says(session('1'))
    const admitted = exchange.admit(peer)
    // The peer restarts and says so before its answer from before is read.
    await says(session('2'))
    questions[0]?.answer(session('1'))
    await turn()
    expect(questions).toHaveLength(2)

    questions[1]?.answer(session('2'))
    await admitted
    expect([exchange.isAdmitted(peer), forgotten]).toEqual([true, []])
  })

  it('an answer to a question that was asked after the change is one', async () => {
    const { exchange, questions, says, forgotten } = scripted()
    await says(session('1'))
    await says(session('2'))
    expect(questions).toHaveLength(1)

    questions[0]?.answer(session('1'))
    await turn()
    expect([exchange.isAdmitted(peer), forgotten]).toEqual([false, [peer]])
  })
})
