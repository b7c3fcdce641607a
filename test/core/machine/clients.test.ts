import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { request } from '../../../src/core/machine/command.ts'
import { TXN } from '../../../src/core/machine/kv.ts'
import type { Part, Txn } from '../../../src/core/machine/kv.ts'
import {
  ANSWERS_PER_CLIENT,
  CLIENTS_MAX,
  CLIENT_IDLE_MS_MIN,
  CLIENT_TTL_MS,
  EXPIRED_CLIENTS_PER_ENTRY
} from '../../../src/core/machine/limits.ts'
import { FORGET } from '../../../src/core/machine/own-operations.ts'
import { Shard, codeOf } from './shard.ts'
import type { From } from './shard.ts'

const append: Part = { kind: 'append', prefix: utf8('kv/q/'), value: utf8('x'), lease: 0 }

function add(shard: Shard, from: From): unknown {
  return shard.txn({ success: [append] }, from).results[0]
}

describe('the memory of answered requests', () => {
  it('answers a repeated request as before, and does nothing', () => {
    const shard = new Shard()
    const client = shard.register()
    const first = add(shard, { client, sequence: 1 })
    const second = add(shard, { client, sequence: 2 })
    expect(second).not.toEqual(first)
    expect(add(shard, { client, sequence: 1 })).toEqual(first)
    expect(add(shard, { client, sequence: 2 })).toEqual(second)
    expect(shard.list('kv/q/')).toHaveLength(2)

    const txn: Txn = { compares: [], success: [append], failure: [] }
    const about = { client, sequence: 2, space: utf8('kv') }
    const outcome = shard.applyRequest(request(TXN, txn, about))
    expect(outcome).toMatchObject({ isRepeated: true, changes: [], answer: { revision: 2 } })
    shard.check()
  })

  it('remembers refusals and conditions that did not hold as well', () => {
    const shard = new Shard()
    const client = shard.register()
    const key = utf8('kv/a')
    const ifThere: Partial<Txn> = {
      compares: [{ kind: 'exists', key, exists: true }],
      success: [append]
    }
    const leased: Partial<Txn> = { success: [{ ...append, lease: 5 }] }
    expect(shard.txn(ifThere, { client, sequence: 1 }).succeeded).toBe(false)
    expect(codeOf(() => shard.txn(leased, { client, sequence: 2 }))).toBe('not-found')
    shard.put('kv/a', '1')
    while (shard.machine.index < 4) shard.pass(0)
    expect(shard.grant(5_000)).toBe(5)

    expect(shard.txn(ifThere, { client, sequence: 1 }).succeeded).toBe(false)
    expect(codeOf(() => shard.txn(leased, { client, sequence: 2 }))).toBe('not-found')
    expect(shard.txn(leased, { client, sequence: 3 }).succeeded).toBe(true)
  })

  it('takes requests in any order', () => {
    const shard = new Shard()
    const client = shard.register()
    for (const sequence of [3, 1, 2]) add(shard, { client, sequence })
    for (const sequence of [1, 2, 3]) add(shard, { client, sequence })
    expect(shard.list('kv/q/')).toHaveLength(3)
  })

  it('forgets what the client has the answers of, and does not do that again', () => {
    const shard = new Shard()
    const client = shard.register()
    for (let sequence = 1; sequence <= 5; sequence++) add(shard, { client, sequence })
    add(shard, { client, sequence: 6, answeredBelow: 4 })
    for (const sequence of [1, 3]) {
      expect(codeOf(() => add(shard, { client, sequence }))).toBe('client-expired')
    }
    add(shard, { client, sequence: 4 })
    // A claim above the request itself is taken for what it can mean.
    add(shard, { client, sequence: 7, answeredBelow: 1_000 })
    add(shard, { client, sequence: 7 })
    expect(codeOf(() => add(shard, { client, sequence: 6 }))).toBe('client-expired')
    expect(shard.list('kv/q/')).toHaveLength(7)
    shard.check()
  })

  it('is bounded in answers and in bytes, the oldest go', () => {
    const shard = new Shard()
    const client = shard.register()
    for (let sequence = 1; sequence <= ANSWERS_PER_CLIENT + 1; sequence++) {
      add(shard, { client, sequence })
    }
    expect(codeOf(() => add(shard, { client, sequence: 1 }))).toBe('client-expired')
    add(shard, { client, sequence: 2 })
    expect(shard.list('kv/q/')).toHaveLength(ANSWERS_PER_CLIENT + 1)
    shard.check()

    shard.put('kv/big', 'x'.repeat(250_000))
    const next = ANSWERS_PER_CLIENT + 2
    const get: Partial<Txn> = { success: [{ kind: 'get', key: utf8('kv/big') }, append] }
    for (let count = 0; count < 4; count++) shard.txn(get, { client, sequence: next + count })
    shard.check()
    expect(codeOf(() => shard.txn(get, { client, sequence: next + 1 }))).toBe('client-expired')
    const before = shard.list('kv/q/').length
    shard.txn(get, { client, sequence: next + 3 })
    expect(shard.list('kv/q/')).toHaveLength(before)
  })

  it('refuses a client that it does not know, or not any more', () => {
    const shard = new Shard()
    expect(codeOf(() => add(shard, { client: 77, sequence: 1 }))).toBe('client-expired')
    const client = shard.register()
    add(shard, { client, sequence: 1 })
    shard.pass(CLIENT_TTL_MS)
    expect(codeOf(() => add(shard, { client, sequence: 1 }))).toBe('client-expired')
    expect(codeOf(() => add(shard, { client, sequence: 2 }))).toBe('client-expired')

    const other = shard.register()
    add(shard, { client: other, sequence: 1 })
    shard.run(FORGET, { client: other }, { client: other, sequence: 2 })
    expect(codeOf(() => add(shard, { client: other, sequence: 1 }))).toBe('client-expired')
    expect(shard.list('kv/q/')).toHaveLength(2)
    expect(codeOf(() => add(shard, { client: shard.register(), sequence: 2 ** 53 - 1 }))).toBe(
      'invalid-argument'
    )
    shard.check()
  })

  it('lasts as long as the client asks', () => {
    const shard = new Shard()
    const client = shard.register()
    for (let sequence = 1; sequence <= 20; sequence++) {
      shard.pass(CLIENT_TTL_MS / 2)
      add(shard, { client, sequence })
    }
    add(shard, { client, sequence: 20 })
    expect(shard.list('kv/q/')).toHaveLength(20)
    shard.check()
  })

  it('drops the idlest client for a new one, never an active one', () => {
    const shard = new Shard()
    const clients = Array.from({ length: CLIENTS_MAX }, () => shard.register())
    expect(codeOf(() => shard.register())).toBe('overloaded')
    shard.pass(CLIENT_IDLE_MS_MIN)
    for (const client of clients.slice(1)) add(shard, { client, sequence: 1 })
    const fresh = shard.register()
    expect(codeOf(() => add(shard, { client: clients[0] as number, sequence: 1 }))).toBe(
      'client-expired'
    )
    expect(codeOf(() => shard.register())).toBe('overloaded')
    add(shard, { client: fresh, sequence: 1 })
    shard.check()

    shard.pass(CLIENT_TTL_MS)
    expect(shard.machine.reads.meta.clientCount).toBe(CLIENTS_MAX - EXPIRED_CLIENTS_PER_ENTRY)
    while (shard.machine.reads.meta.clientCount > 0) shard.pass(0)
    shard.check()
  })
})
