// What a router makes of refusals: those of nodes and replicas it takes for passing, those of the
// machine for the answer.

import { describe, expect, it } from 'vitest'
import { sleep } from '../../src/base/clock.ts'
import { MeshError, type ErrorCode } from '../../src/base/errors.ts'
import { peerId, type PeerId } from '../../src/base/ids.ts'
import { encode } from '../../src/core/machine/codec.ts'
import { CONFIGURE, REGISTER } from '../../src/core/machine/own-operations.ts'
import { SETTINGS_DEFAULTS } from '../../src/core/machine/records.ts'
import type { CallBatcher } from '../../src/shard/call-batcher.ts'
import { LeaderHints } from '../../src/shard/leader-hints.ts'
import { Router } from '../../src/shard/router.ts'
import type { ShardServer } from '../../src/shard/shard-server.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import type { ShardCall } from '../../src/wire/shard.ts'
import { failedResult } from '../../src/wire/shard-failure.ts'
import type { ShardResult } from '../../src/wire/shard-reply.ts'

const clock = new VirtualClock()
const refused = (code: ErrorCode, isDecided: boolean): ShardResult => {
  return { ...failedResult(new MeshError(code, 'no')), isDecided }
}
const done = (result: Uint8Array): ShardResult => ({ kind: 'done', revision: 1, result })
const REGISTERED = done(encode(REGISTER.result, { client: 7 }).slice())

/** @returns what an operation came to, and how often each was asked for, at a node that leads. */
async function run(
  answer: (operation: string, time: number) => ShardResult
): Promise<{ code: ErrorCode | undefined; asked: Record<string, number> }> {
  const asked: Record<string, number> = {}
  const call = (sent: ShardCall): Promise<ShardResult> => {
    const { operation } = (sent as Extract<ShardCall, { kind: 'execute' }>).request
    asked[operation] = (asked[operation] ?? 0) + 1
    return Promise.resolve(answer(operation, asked[operation]))
  }
  const server = { call, leads: () => true, isLeaderless: () => false }
  const router = new Router({
    self: peerId('here'),
    clock,
    count: 4,
    server: server as unknown as ShardServer,
    batcher: {} as unknown as CallBatcher,
    hints: new LeaderHints({
      members: () => [peerId('here')],
      leader: () => undefined,
      owners: () => [],
      others: () => [],
      isReachable: () => true,
      nowMs: () => clock.monotonicMs()
    }),
    stopping: new AbortController().signal
  })
  const work = router.execute({ shard: 0 }, CONFIGURE, SETTINGS_DEFAULTS)
  try {
    await clock.run(work)
    return { code: undefined, asked }
  } catch (error) {
    return { code: (error as MeshError).code, asked }
  }
}

it('S-12 what the machine refuses is told at once, whatever the code', async () => {
  for (const code of ['overloaded', 'timeout', 'not-found'] as const) {
    const answer = (name: string): ShardResult =>
      name === REGISTER.name ? REGISTERED : refused(code, true)
    const { asked, ...ended } = await run(answer)
    expect(ended).toEqual({ code })
    expect(asked).toEqual({ [REGISTER.name]: 1, [CONFIGURE.name]: 1 })
  }
})

it('what a replica refuses is asked again', async () => {
  const answer = (name: string, time: number): ShardResult => {
    if (name === REGISTER.name) return REGISTERED
    return time < 3 ? refused('overloaded', false) : done(new Uint8Array(0))
  }
  const { asked, code } = await run(answer)
  expect(code).toBeUndefined()
  expect(asked[CONFIGURE.name]).toBe(3)
})

it('a shard that has no room for another client is asked again, and not in haste', async () => {
  const { asked } = await run(() => refused('overloaded', true))
  expect(asked[REGISTER.name]).toBeGreaterThan(10)
  expect(asked[REGISTER.name]).toBeLessThan(100)
})

describe('a leader that is silent', () => {
  const [here, old, next] = ['here', 'old', 'next'].map(peerId) as [PeerId, PeerId, PeerId]
  const CALL_MS = 10_000

  /** Asks for an operation at a node that has no replica and takes `old` for the leader. */
  async function ask(
    answers: Record<string, (time: number) => Promise<ShardResult>>
  ): Promise<{ tookMs: number; asked: string[] }> {
    const asked: string[] = []
    const send = async (peer: PeerId, sent: ShardCall): Promise<ShardResult> => {
      const { operation } = (sent as Extract<ShardCall, { kind: 'execute' }>).request
      if (operation === REGISTER.name) return REGISTERED
      asked.push(peer)
      return await answers[peer]!(asked.filter((one) => one === peer).length)
    }
    const hints = new LeaderHints({
      members: () => [old, next],
      leader: () => undefined,
      owners: () => [],
      others: () => [],
      isReachable: () => true,
      nowMs: () => clock.monotonicMs()
    })
    hints.learn(1, old)
    const server = { leads: () => false, isLed: () => false, isLeaderless: () => false }
    const router = new Router({
      self: here,
      clock,
      count: 4,
      server: server as unknown as ShardServer,
      batcher: { send } as unknown as CallBatcher,
      hints,
      stopping: new AbortController().signal
    })
    const startMs = clock.monotonicMs()
    await clock.run(
      router.execute({ shard: 0 }, CONFIGURE, SETTINGS_DEFAULTS, { timeoutMs: CALL_MS })
    )
    return { tookMs: clock.monotonicMs() - startMs, asked }
  }

  const never = async (): Promise<ShardResult> => await new Promise(() => {})
  const ok = (): Promise<ShardResult> => Promise.resolve(done(new Uint8Array(0)))

  it('is not waited for alone: whoever leads now answers within a second', async () => {
    const { tookMs, asked } = await ask({ old: never, next: ok })
    expect(asked).toEqual([old, next])
    expect(tookMs).toBeLessThan(1_000)
  })

  it('is asked once, and heard, when others name it again', async () => {
    const late = async (): Promise<ShardResult> => {
      await sleep(clock, 1_400)
      return await ok()
    }
    const naming = async (): Promise<ShardResult> =>
      await Promise.resolve(failedResult(new MeshError('not-leader', 'no'), old))
    const { tookMs, asked } = await ask({ old: late, next: naming })
    expect(asked.filter((peer) => peer === old)).toEqual([old])
    expect(tookMs).toBe(1_400)
  })
})
