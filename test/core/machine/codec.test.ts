import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex, utf8 } from '../../../src/base/bytes.ts'
import { ERROR_CODES, MeshError } from '../../../src/base/errors.ts'
import type { ErrorCode } from '../../../src/base/errors.ts'
import {
  bytes,
  decode,
  encode,
  flag,
  label,
  list,
  oneOf,
  optional,
  record,
  text,
  uint,
  variant
} from '../../../src/core/machine/codec.ts'
import {
  decodeAnswer,
  decodeCommand,
  encodeAnswer,
  encodeCommand
} from '../../../src/core/machine/command.ts'
import type { Command } from '../../../src/core/machine/command.ts'
import { TXN } from '../../../src/core/machine/kv.ts'
import type { Compare, Part } from '../../../src/core/machine/kv.ts'
import { COMMAND_BYTES_MAX } from '../../../src/core/machine/limits.ts'
import { compareBytes } from '../../../src/core/machine/ordered-state.ts'
import { SETTINGS_DEFAULTS, encodeMeta, readMeta } from '../../../src/core/machine/records.ts'
import {
  afterPast,
  currentKey,
  keyOfCurrent,
  keyOfPast,
  lastNumber,
  leaseDeadlineKey,
  partsOfDeadline,
  pastKey
} from '../../../src/core/machine/state-keys.ts'
import { codeOf } from './shard.ts'

const anyBytes = fc.uint8Array({ maxLength: 20 })
const anyUint = fc.oneof(fc.nat(300), fc.maxSafeNat())
const anyKey = fc.uint8Array({ minLength: 1, maxLength: 6, max: 3 })

type Shape =
  | { readonly kind: 'a'; readonly number: number; readonly flag: boolean }
  | {
      readonly kind: 'b'
      readonly items: readonly (string | undefined)[]
      readonly raw: Uint8Array
    }
  | { readonly kind: 'c'; readonly colour: 'red' | 'green' }

const shape = variant<Shape>({
  a: record({ number: uint, flag }),
  b: record({ items: list(optional(text(40)), 5), raw: bytes(20) }),
  c: record({ colour: oneOf(['red', 'green']) })
})
const anyText = fc.string({ unit: 'binary', maxLength: 10 })
const anyShape: fc.Arbitrary<Shape> = fc.oneof(
  fc.record({ kind: fc.constant('a' as const), number: anyUint, flag: fc.boolean() }),
  fc.record({
    kind: fc.constant('b' as const),
    items: fc.array(fc.option(anyText, { nil: undefined }), { maxLength: 5 }),
    raw: anyBytes
  }),
  fc.record({ kind: fc.constant('c' as const), colour: fc.constantFrom('red', 'green') })
)

const anyRelation = fc.constantFrom('=', '!=', '<', '>')
const anyCompare: fc.Arbitrary<Compare> = fc.oneof(
  fc.record({ kind: fc.constant('exists' as const), key: anyBytes, exists: fc.boolean() }),
  fc.record({
    kind: fc.constant('value' as const),
    key: anyBytes,
    relation: anyRelation,
    value: anyBytes
  }),
  fc.record({
    kind: fc.constant('number' as const),
    key: anyBytes,
    field: fc.constantFrom('version', 'createRevision', 'modRevision', 'lease'),
    relation: anyRelation,
    number: anyUint
  })
)
const anyPart: fc.Arbitrary<Part> = fc.oneof(
  fc.record({ kind: fc.constantFrom('get', 'delete'), key: anyBytes }),
  fc.record({ kind: fc.constant('put' as const), key: anyBytes, value: anyBytes, lease: anyUint }),
  fc.record({
    kind: fc.constant('append' as const),
    prefix: anyBytes,
    value: anyBytes,
    lease: anyUint
  }),
  fc.record({
    kind: fc.constantFrom('range', 'delete-range'),
    from: anyBytes,
    to: anyBytes,
    limit: anyUint
  })
)
const anyTxn = fc.record({
  compares: fc.array(anyCompare, { maxLength: 4 }),
  success: fc.array(anyPart, { maxLength: 4 }),
  failure: fc.array(anyPart, { maxLength: 4 })
})
const anyCommand: fc.Arbitrary<Command> = fc.record({
  stampMs: anyUint,
  client: anyUint,
  sequence: anyUint,
  answeredBelow: anyUint,
  space: anyBytes,
  operation: fc.string({ maxLength: 20, unit: 'grapheme-ascii' }),
  version: anyUint,
  args: anyBytes
})

describe('codecs', () => {
  it('read what they wrote', () => {
    fc.assert(
      fc.property(anyShape, (value) => {
        expect(decode(shape, encode(shape, value))).toEqual(value)
      })
    )
    fc.assert(
      fc.property(anyTxn, (value) => {
        expect(decode(TXN.args, encode(TXN.args, value))).toEqual(value)
      })
    )
    fc.assert(
      fc.property(anyCommand, (value) => {
        expect(decodeCommand(encodeCommand(value))).toEqual(value)
      })
    )
  })

  it('a value has one encoding: bytes that are accepted are written just so', () => {
    const accepts = (codec: typeof shape | typeof TXN.args, raw: Uint8Array): boolean => {
      let value: unknown
      try {
        value = decode<unknown>(codec, raw)
      } catch (error) {
        expect(error).toBeInstanceOf(MeshError)
        expect(error).toMatchObject({ code: 'invalid-data' })
        return false
      }
      expect(encode<unknown>(codec, value)).toEqual(raw)
      return true
    }
    let accepted = 0
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8, max: 4 }), (raw) => {
        if (accepts(shape, raw)) accepted += 1
      }),
      { numRuns: 3_000 }
    )
    expect(accepted).toBeGreaterThan(20)
    // Whole ones with a byte changed, one more or one less.
    fc.assert(
      fc.property(anyTxn, fc.nat(), fc.nat(255), (value, place, byte) => {
        const raw = encode(TXN.args, value)
        raw[place % raw.length] = byte
        accepts(TXN.args, raw)
        accepts(TXN.args, raw.subarray(0, place % raw.length))
        accepts(TXN.args, new Uint8Array([...raw, byte]))
      }),
      { numRuns: 500 }
    )
  })

  it('refuse numbers in more bytes than needed, or above 2^53 - 1', () => {
    const wrong = ['8000', 'ff00', 'ffffffffffffff10', 'ffffffffffffffff01', '80', '']
    for (const digits of wrong) {
      const raw = Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
      expect([digits, codeOf(() => decode(uint, raw))]).toEqual([digits, 'invalid-data'])
    }
    expect(decode(uint, encode(uint, Number.MAX_SAFE_INTEGER))).toBe(Number.MAX_SAFE_INTEGER)
    for (const value of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(codeOf(() => encode(uint, value))).toBe('invalid-argument')
    }
  })

  it('keep their bounds, both ways', () => {
    expect(codeOf(() => encode(bytes(3), new Uint8Array(4)))).toBe('too-large')
    expect(codeOf(() => encode(text(3), 'ää'))).toBe('too-large')
    expect(codeOf(() => encode(list(uint, 1), [1, 2]))).toBe('too-large')
    expect(codeOf(() => decode(bytes(3), encode(bytes(9), new Uint8Array(4))))).toBe('invalid-data')
    expect(codeOf(() => decode(list(uint, 1), encode(list(uint, 9), [1, 2])))).toBe('invalid-data')
    const bom = Uint8Array.of(3, 0xef, 0xbb, 0xbf)
    expect(codeOf(() => decode(text(9), bom))).toBe('invalid-data')
    expect(codeOf(() => decode(text(9), Uint8Array.of(1, 0x80)))).toBe('invalid-data')
    expect(decode(label(3), encode(label(3), 'abc'))).toBe('abc')
    expect(codeOf(() => encode(label(3), 'abcd'))).toBe('too-large')
    expect(codeOf(() => encode(label(3), 'ä'))).toBe('invalid-argument')
    expect(codeOf(() => decode(label(3), Uint8Array.of(4, 1, 1, 1, 1)))).toBe('invalid-data')
    expect(codeOf(() => decode(label(3), Uint8Array.of(1, 0x80)))).toBe('invalid-data')
    const huge = { ...({} as Command), args: new Uint8Array(COMMAND_BYTES_MAX) }
    const command = { stampMs: 0, client: 0, sequence: 0, answeredBelow: 0, version: 1 }
    const whole = { ...command, space: utf8(''), operation: 'x', args: huge.args }
    expect(codeOf(() => encodeCommand(whole))).toBe('too-large')
    expect(codeOf(() => decodeCommand(new Uint8Array(COMMAND_BYTES_MAX + 1)))).toBe('too-large')
  })

  it('bytes that are in logs and on disks stay as they are', () => {
    const args = encode(TXN.args, {
      compares: [
        { kind: 'exists', key: utf8('kv/a'), exists: false },
        { kind: 'value', key: utf8('kv/a'), relation: '!=', value: utf8('x') },
        { kind: 'number', field: 'modRevision', key: utf8('kv/a'), relation: '<', number: 300 }
      ],
      success: [
        { kind: 'put', key: utf8('kv/a'), value: utf8('v'), lease: 7 },
        { kind: 'append', prefix: utf8('kv/q/'), value: utf8('v'), lease: 0 },
        { kind: 'delete', key: utf8('kv/b') }
      ],
      failure: [
        { kind: 'get', key: utf8('kv/a') },
        { kind: 'range', from: utf8('kv/'), to: utf8('kv0'), limit: 10 },
        { kind: 'delete-range', from: utf8('kv/'), to: utf8('kv0'), limit: 1 }
      ]
    })
    expect(toHex(args)).toBe(
      '0300046b762f610001046b762f6101017802046b762f610202ac02' +
        '0302046b762f6101760703056b762f712f01760004046b762f62' +
        '0300046b762f6101036b762f036b76300a05036b762f036b763001'
    )
    const command = encodeCommand({
      stampMs: 70_000,
      client: 9,
      sequence: 4,
      answeredBelow: 3,
      space: utf8('kv'),
      operation: TXN.name,
      version: TXN.version,
      args: Uint8Array.of(0, 0, 0)
    })
    expect(toHex(command)).toBe('01f0a204090403026b76066b762e74786e0103000000')
    const meta = { index: 5, term: 2, revision: 3, timeMs: 70_000, compacted: 1 }
    const whole = { ...meta, usedBytes: 99, clientCount: 1, settings: SETTINGS_DEFAULTS }
    const stored = encodeMeta(whole)
    expect(toHex(stored)).toBe('01050203f0a2040163018080808002e807a08d06c0cf24')
    expect(readMeta({ get: () => stored, range: () => [] })).toEqual(whole)
    const done = encodeAnswer({ kind: 'done', revision: 3, result: Uint8Array.of(1, 0) })
    expect(toHex(done)).toBe('0003020100')
  })

  it('a refusal is remembered by its code', () => {
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      const error = new MeshError(code, 'words that differ between programs')
      const stored = encodeAnswer({ kind: 'refused', error })
      expect(stored.length).toBe(2)
      expect(decodeAnswer(stored)).toMatchObject({ kind: 'refused', error: { code } })
    }
  })
})

describe('stored keys', () => {
  it('of past versions sort by key and then by revision, and give the key back', () => {
    fc.assert(
      fc.property(anyKey, anyKey, anyUint, anyUint, (a, b, first, second) => {
        const order = compareBytes(a, b) || first - second
        const found = compareBytes(pastKey(1, a, first), pastKey(1, b, second))
        expect(Math.sign(found)).toBe(Math.sign(order))
        expect(keyOfPast(pastKey(1, a, first))).toEqual(a)
        expect(keyOfCurrent(currentKey(1, a))).toEqual(a)
        expect(lastNumber(pastKey(1, a, first))).toBe(first)
        const isAfter = compareBytes(pastKey(1, b, second), afterPast(1, a)) > 0
        expect(isAfter).toBe(compareBytes(b, a) > 0)
      })
    )
  })

  it('of deadlines sort by time and then by id', () => {
    fc.assert(
      fc.property(anyUint, anyUint, anyUint, anyUint, (aMs, a, bMs, b) => {
        const found = compareBytes(leaseDeadlineKey(aMs, a), leaseDeadlineKey(bMs, b))
        expect(Math.sign(found)).toBe(Math.sign(aMs - bMs || a - b))
        expect(partsOfDeadline(leaseDeadlineKey(aMs, a))).toEqual({ deadlineMs: aMs, id: a })
      })
    )
  })
})
