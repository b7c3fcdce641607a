// Random requests to a shard, for properties: over few keys, leases, locks and clients, so that
// they get in each other's way.

import * as fc from 'fast-check'
import { utf8 } from '../../../src/base/bytes.ts'
import { encodeCommand, request } from '../../../src/core/machine/command.ts'
import { TXN } from '../../../src/core/machine/kv.ts'
import type { Compare, Part } from '../../../src/core/machine/kv.ts'
import { ACQUIRE, CANCEL, RELEASE } from '../../../src/core/machine/locks.ts'
import {
  CONFIGURE,
  FORGET,
  GRANT,
  KEEP_ALIVE,
  REGISTER,
  REVOKE,
  TICK
} from '../../../src/core/machine/own-operations.ts'
import type { Operation } from '../../../src/core/machine/operation.ts'
import { SETTINGS_DEFAULTS } from '../../../src/core/machine/records.ts'

const SPACE = utf8('kv')

export const anyKey: fc.Arbitrary<Uint8Array> = fc
  .constantFrom('kv/a', 'kv/a\0', 'kv/a\0b', 'kv/ab', 'kv/b/1', 'kv/b/2', 'kv/c', 'kv')
  .map(utf8)
/** Leases are called by the index of the entry that granted them: small numbers often hit one. */
const anyId = fc.nat(30)
const anyValue = fc.oneof(
  fc.constantFrom('', '1', '2').map(utf8),
  fc.nat(3_000).map((length) => new Uint8Array(length).fill(7))
)
export const anySpan: fc.Arbitrary<{ from: Uint8Array; to: Uint8Array }> = fc
  .constantFrom(['kv/', 'kv0'], ['kv/a', 'kv/b'], ['kv/a\0', 'kv/b/2'], ['kv/b/', 'kv/b0'])
  .map(([from = '', to = '']) => ({ from: utf8(from), to: utf8(to) }))

const anyCompare: fc.Arbitrary<Compare> = fc.oneof(
  fc.record({ kind: fc.constant('exists' as const), key: anyKey, exists: fc.boolean() }),
  fc.record({
    kind: fc.constant('value' as const),
    key: anyKey,
    relation: fc.constantFrom('=', '!=', '<', '>'),
    value: fc.constantFrom('', '1', '2').map(utf8)
  }),
  fc.record({
    kind: fc.constant('number' as const),
    key: anyKey,
    field: fc.constantFrom('version', 'createRevision', 'modRevision', 'lease'),
    relation: fc.constantFrom('=', '!=', '<', '>'),
    number: fc.nat(12)
  })
)

const anyLease = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: anyId })
const anyPart: fc.Arbitrary<Part> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('get' as const), key: anyKey }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      key: anyKey,
      value: anyValue,
      lease: anyLease
    })
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key: anyKey }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('range' as const, 'delete-range' as const), anySpan, fc.nat(4))
      .map(([kind, span, limit]) => ({ kind, ...span, limit }))
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      prefix: fc.constant(utf8('kv/c')),
      value: anyValue,
      lease: anyLease
    })
  }
)

export const anyTxn: fc.Arbitrary<{ compares: Compare[]; success: Part[]; failure: Part[] }> =
  fc.record({
    compares: fc.array(anyCompare, { maxLength: 2 }),
    success: fc.array(anyPart, { maxLength: 4 }),
    failure: fc.array(anyPart, { maxLength: 2 })
  })

type Asked = ReturnType<typeof request>
type Any = Asked | undefined

function ask<A, R>(
  operation: Omit<Operation<A, R>, 'apply'>,
  args: fc.Arbitrary<A>
): fc.Arbitrary<Asked> {
  const about = fc.record({
    client: fc.constantFrom(0, 0, 1, 2, 3),
    sequence: fc.nat(12),
    answeredBelow: fc.nat(6)
  })
  const whole = operation as Operation<A, R>
  return fc
    .tuple(args, about)
    .map(([args, from]) => request(whole, args, { ...from, space: SPACE }))
}

const lease = fc.record({ lease: anyId })
const name = fc.constantFrom('kv/l', 'kv/m').map(utf8)
const none = fc.constant(undefined)
const settings = fc.record({
  quotaBytes: fc.constantFrom(65_536, 2 ** 29),
  retainCountMin: fc.nat(5),
  retainCountMax: fc.integer({ min: 5, max: 40 }),
  retainMs: fc.constantFrom(0, 1_000, 60_000)
})

const anyRequest: fc.Arbitrary<Any> = fc.oneof(
  { weight: 12, arbitrary: ask(TXN, anyTxn) },
  { weight: 3, arbitrary: ask(GRANT, fc.record({ ttlMs: fc.integer({ min: 900, max: 3_000 }) })) },
  { weight: 2, arbitrary: ask(KEEP_ALIVE, lease) },
  { weight: 1, arbitrary: ask(REVOKE, lease) },
  { weight: 2, arbitrary: ask(REGISTER, none) },
  { weight: 1, arbitrary: ask(FORGET, fc.record({ client: fc.nat(10) })) },
  { weight: 1, arbitrary: ask(TICK, none) },
  {
    weight: 1,
    arbitrary: ask(
      CONFIGURE,
      settings.map((settings) => ({ ...SETTINGS_DEFAULTS, ...settings }))
    )
  },
  {
    weight: 6,
    arbitrary: ask(
      ACQUIRE,
      fc.record({ name, lease: anyId, owner: fc.constant(utf8('o')), isWaiting: fc.boolean() })
    )
  },
  { weight: 2, arbitrary: ask(RELEASE, fc.record({ name, token: fc.nat(30) })) },
  { weight: 2, arbitrary: ask(CANCEL, fc.record({ name, ticket: fc.nat(30) })) },
  { weight: 1, arbitrary: fc.constant(undefined) }
)

/**
 * Bytes of entries, stamps running on and back; the first ones register clients 1 to 3 and grant
 * leases 4 to 6.
 */
export function anyLog(lengthMax: number): fc.Arbitrary<Uint8Array[]> {
  const step = fc.tuple(anyRequest, fc.constantFrom(0, 0, 1, 50, 400, 1_500, -700, 3_700_000))
  return fc.array(step, { minLength: 1, maxLength: lengthMax, size: 'max' }).map((steps) => {
    let stampMs = 1_000
    const first: [Asked, number][] = [
      ...[1, 2, 3].map((): [Asked, number] => [request(REGISTER, undefined), 0]),
      ...[1, 2, 3].map((at): [Asked, number] => [
        request(GRANT, { ttlMs: 2_000 * at }, { space: SPACE }),
        0
      ])
    ]
    return [...first, ...steps].map(([asked, passedMs]) => {
      stampMs = Math.max(0, stampMs + passedMs)
      return asked === undefined ? new Uint8Array(0) : encodeCommand({ ...asked, stampMs })
    })
  })
}
