// What a router makes of refusals: those of nodes and replicas it takes for passing, those of the
// machine for the answer.

import { expect, it } from 'vitest'
import { MeshError, type ErrorCode } from '../../src/base/errors.ts'
import { peerId } from '../../src/base/ids.ts'
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
