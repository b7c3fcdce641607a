import { beforeEach, expect, it } from 'vitest'
import { MeshError } from '../../src/base/errors.ts'
import { peerId } from '../../src/base/ids.ts'
import type { Body, Network, RequestOptions } from '../../src/net/network.ts'
import { CallBatcher } from '../../src/shard/call-batcher.ts'
import { CALLS_MAX, decodeShardRequest } from '../../src/wire/shard.ts'
import type { ShardCall } from '../../src/wire/shard.ts'
import { encodeShardReply } from '../../src/wire/shard-reply.ts'
import type { ShardResult } from '../../src/wire/shard-reply.ts'

const PEER = peerId('a')
const OTHER = peerId('b')
const NO_BYTES = new Uint8Array(0)

type Sent = {
  readonly peer: string
  readonly calls: readonly ShardCall[]
  readonly timeoutMs: number
}

let sent: Sent[]
let tasks: (() => void)[]
let answer: (call: ShardCall) => ShardResult
let batcher: CallBatcher

beforeEach(() => {
  sent = []
  tasks = []
  answer = (call) => ({ kind: 'done', revision: sequenceOf(call), result: NO_BYTES })
  const request = async (
    peer: string,
    _: string,
    body: Body,
    { timeoutMs }: RequestOptions
  ): Promise<Uint8Array> => {
    const calls = decodeShardRequest(body as Uint8Array)
    sent.push({ peer, calls, timeoutMs })
    return await Promise.resolve(encodeShardReply(calls.map(answer)))
  }
  batcher = new CallBatcher({ request } as unknown as Network, (task) => tasks.push(task))
})

function endTurn(): void {
  for (const task of tasks.splice(0)) task()
}

function execute(group: number, sequence: number, bytes = 0): ShardCall {
  const names = { client: 1, sequence, answeredBelow: 1, space: NO_BYTES }
  const operation = { operation: 'kv.txn', version: 1, args: new Uint8Array(bytes) }
  return { kind: 'execute', target: { group }, request: { ...names, ...operation } }
}

const sequenceOf = (call: ShardCall): number =>
  call.kind === 'execute' ? call.request.sequence : 0
const revisionOf = (result: ShardResult): number => (result.kind === 'done' ? result.revision : -1)

it('what goes to one node and group in one turn is one request, and each gets its own answer', async () => {
  const results = [
    batcher.send(PEER, execute(1, 7), 100),
    batcher.send(PEER, execute(1, 8), 300),
    batcher.send(PEER, execute(2, 9), 100),
    batcher.send(OTHER, execute(1, 10), 100)
  ]
  expect(sent).toEqual([])
  expect(tasks).toHaveLength(1)
  endTurn()
  expect((await Promise.all(results)).map(revisionOf)).toEqual([7, 8, 9, 10])
  expect(sent.map(({ peer, calls, timeoutMs }) => [peer, calls.length, timeoutMs])).toEqual([
    [PEER, 2, 300],
    [PEER, 1, 100],
    [OTHER, 1, 100]
  ])
  const later = batcher.send(PEER, execute(1, 11), 100)
  endTurn()
  expect(revisionOf(await later)).toBe(11)
})

it('a request has no more calls, and no more bytes, than one takes', async () => {
  const many = Array.from({ length: CALLS_MAX + 1 }, (_, sequence) => execute(1, sequence))
  const large = Array.from({ length: 9 }, (_, sequence) => execute(2, sequence, 500_000))
  const results = [...many, ...large].map(async (call) => await batcher.send(PEER, call, 100))
  endTurn()
  await Promise.all(results)
  expect(sent.map(({ calls }) => calls.length)).toEqual([CALLS_MAX, 1, 4, 4, 1])
})

it('all calls of a request that failed fail like it, and others do not', async () => {
  answer = (call) => {
    if (sequenceOf(call) === 2) throw new MeshError('unreachable', 'gone')
    return { kind: 'done', revision: sequenceOf(call), result: NO_BYTES }
  }
  const failing = [1, 2].map(
    async (sequence) => await batcher.send(PEER, execute(1, sequence), 100)
  )
  const other = batcher.send(PEER, execute(2, 3), 100)
  endTurn()
  for (const result of failing) await expect(result).rejects.toMatchObject({ code: 'unreachable' })
  expect(revisionOf(await other)).toBe(3)
})
