import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex, utf8 } from '../../../src/base/bytes.ts'
import { MeshError } from '../../../src/base/errors.ts'
import { encodeCommand, request, resultOf } from '../../../src/core/machine/command.ts'
import type { Answer } from '../../../src/core/machine/command.ts'
import { checkStateInvariants } from '../../../src/core/machine/invariants.ts'
import { KV, TXN } from '../../../src/core/machine/kv.ts'
import { COMMAND_BYTES_MAX } from '../../../src/core/machine/limits.ts'
import { LOCKS } from '../../../src/core/machine/locks.ts'
import { Machine } from '../../../src/core/machine/machine.ts'
import type { LogEntry, Outcome } from '../../../src/core/machine/outcome.ts'
import { MemoryState } from '../../../src/core/machine/memory-state.ts'
import type { AnyOperation } from '../../../src/core/machine/operation.ts'
import { TICK } from '../../../src/core/machine/own-operations.ts'
import { META_KEY } from '../../../src/core/machine/state-keys.ts'
import { exportState, importState, stateHash } from '../../../src/core/machine/snapshot.ts'
import { Shard, codeOf } from './shard.ts'
import { anyLog } from './workload.ts'

function entriesOf(log: readonly Uint8Array[]): LogEntry[] {
  return log.map((bytes, at) => ({ index: at + 1, term: 1 + Math.floor(at / 10), bytes }))
}

/** @returns what a proposer and those who watch are told, as text. */
function told(outcome: Outcome): string {
  return JSON.stringify(outcome, (_, value: unknown) =>
    value instanceof Uint8Array ? toHex(value) : value
  )
}

function put(key: string): Uint8Array {
  const part = { kind: 'put' as const, key: utf8(key), value: utf8('1'), lease: 0 }
  const txn = { compares: [], success: [part], failure: [] }
  return encodeCommand({ ...request(TXN, txn, { space: utf8('kv') }), stampMs: 0 })
}

describe('apply()', () => {
  it('same entries, same state: by one or in batches, with restarts and snapshots between', () => {
    const cuts = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.nat(3)), { minLength: 1 })
    fc.assert(
      fc.property(anyLog(80), cuts, (log, cuts) => {
        const entries = entriesOf(log)
        const state = new MemoryState()
        const machine = new Machine(state)
        const outcomes = entries.map((entry) => {
          const [outcome] = machine.apply([entry])
          checkStateInvariants(state)
          return told(outcome as Outcome)
        })

        let other = new MemoryState()
        let replica = new Machine(other)
        const others: string[] = []
        for (let at = 0, cut = 0; at < entries.length; cut++) {
          const [length, what] = cuts[cut % cuts.length] as [number, number]
          const batch = entries.slice(at, at + length)
          others.push(...replica.apply(batch).map(told))
          at += length
          if (what === 1) replica = new Machine(other)
          if (what === 2) {
            // A follower that was left behind: its own state is in the way.
            const copy = new MemoryState()
            new Machine(copy).apply(entries.slice(0, at / 2))
            importState(copy, exportState(other.snapshot()))
            other = copy
            replica = new Machine(other)
          }
          if (what === 3) {
            // The transaction of a batch is dropped, and it comes again.
            const kept = other.snapshot()
            replica.apply(entries.slice(at, at + 5))
            importState(other, exportState(kept))
            replica.reload()
          }
        }
        expect(others).toEqual(outcomes)
        expect(stateHash(other)).toBe(stateHash(state))
      }),
      { numRuns: 120 }
    )
  })

  it('answers any bytes and never throws; what problemOf() lets through never halts', () => {
    const whole = anyLog(10)
    const broken = fc
      .tuple(whole, fc.nat(), fc.nat(255), fc.nat(3))
      .map(([log, place, byte, how]) => {
        const bytes = log.at(-1) as Uint8Array
        if (bytes.length === 0) return bytes
        const at = place % bytes.length
        if (how === 0) return bytes.slice(0, at)
        const copy = bytes.slice()
        copy[at] = byte
        return copy
      })
    const anything = fc.uint8Array({ maxLength: 60 })
    const formed = fc.uint8Array({ maxLength: 60 }).map((raw) => Uint8Array.of(1, ...raw))
    const kinds = new Set<string>()
    fc.assert(
      fc.property(whole, fc.oneof(anything, formed, broken, broken), (log, bytes) => {
        const state = new MemoryState()
        const machine = new Machine(state)
        machine.apply(entriesOf(log))
        const index = machine.index + 1
        const problem = machine.problemOf(bytes)
        const before = stateHash(state)
        const [outcome] = machine.apply([{ index, term: 99, bytes }])
        kinds.add(outcome?.kind ?? '')
        checkStateInvariants(state)
        if (outcome?.kind === 'halted') {
          expect(problem?.code).toBe('version-mismatch')
          expect(stateHash(state)).toBe(before)
          return
        }
        expect(outcome).toMatchObject({ kind: 'applied', index })
        expect(machine.index).toBe(index)
        if (outcome?.kind === 'applied' && outcome.answer?.kind === 'refused') {
          kinds.add(outcome.answer.error.code)
        }
      }),
      { numRuns: 1_500 }
    )
    expect([...kinds]).toEqual(expect.arrayContaining(['applied', 'halted', 'invalid-data']))
  })

  it('stops for good at an operation or a form that it does not know, with nothing of it done', () => {
    const asked = request(TICK, undefined)
    const unknown = [
      encodeCommand({ ...asked, operation: 'queue.push', stampMs: 5 }),
      encodeCommand({ ...asked, version: 2, stampMs: 5 }),
      Uint8Array.of(2, 1, 2, 3)
    ]
    for (const bytes of unknown) {
      const state = new MemoryState()
      const machine = new Machine(state)
      const first = { index: 1, term: 1, bytes: put('kv/a') }
      const second = { index: 2, term: 1, bytes }
      const third = { index: 3, term: 1, bytes: put('kv/b') }
      expect(machine.problemOf(bytes)?.code).toBe('version-mismatch')
      const outcomes = machine.apply([first, second, third])
      expect(outcomes.map(({ kind }) => kind)).toEqual(['applied', 'halted'])
      expect(outcomes[1]).toMatchObject({ index: 2, error: { code: 'version-mismatch' } })
      expect(machine.apply([second])[0]?.kind).toBe('halted')
      expect(machine.apply([third])[0]).toMatchObject({ kind: 'halted', index: 3 })
      expect([machine.index, machine.timeMs]).toEqual([1, 0])

      // So does a restart, until there is a program that knows it.
      expect(new Machine(state).apply([second])[0]?.kind).toBe('halted')
      if (bytes[0] === 2) continue
      const push: AnyOperation = { ...TICK, name: 'queue.push' }
      const newer: AnyOperation = { ...TICK, version: 2 }
      const services = [KV, LOCKS, { areas: [], operations: [push, newer] }]
      const updated = new Machine(state, services)
      expect(updated.apply([second, third]).map(({ kind }) => kind)).toEqual(['applied', 'applied'])
      expect(updated.timeMs).toBe(5)
    }
  })

  it('skips what the state has', () => {
    const shard = new Shard()
    shard.put('kv/a', '1')
    shard.put('kv/a', '2')
    const hash = stateHash(shard.state)
    const again = new Machine(shard.state)
    expect(again.apply(shard.log)).toEqual([
      { kind: 'skipped', index: 1 },
      { kind: 'skipped', index: 2 }
    ])
    expect(stateHash(shard.state)).toBe(hash)
    expect(() => again.apply([{ index: 4, term: 1, bytes: put('kv/b') }])).toThrow(/follows/)
    expect(() => again.apply([{ index: 3, term: 0, bytes: put('kv/b') }])).toThrow(/terms/)
  })

  it("takes Raft's own entries, which have no bytes", () => {
    const shard = new Shard()
    const outcome = shard.applyBytes(new Uint8Array(0))
    expect(outcome).toEqual({
      kind: 'applied',
      index: 1,
      answer: undefined,
      isRepeated: false,
      changes: []
    })
    expect(shard.machine.reads.meta).toMatchObject({ index: 1, term: 1, revision: 0 })
  })

  it('an operation that fails midway leaves nothing', () => {
    const shard = new Shard()
    const lease = shard.grant(5_000)
    shard.put('kv/a', '1', lease)
    const pairs = [...shard.state.range({})].slice(1)
    const parts = [
      { kind: 'put' as const, key: utf8('kv/b'), value: utf8('1'), lease },
      { kind: 'delete' as const, key: utf8('kv/a') },
      { kind: 'put' as const, key: utf8('kv/c'), value: utf8('1'), lease: 999 }
    ]
    expect(codeOf(() => shard.do(...parts))).toBe('not-found')
    expect([...shard.state.range({})].slice(1)).toEqual(pairs)
    shard.check()
  })

  it('an operation that is refused leaves what the machine knows as it was', () => {
    const refused: AnyOperation = {
      ...TICK,
      name: 'refused',
      apply: ({ meta }) => {
        meta.clientCount += 1
        meta.settings = { ...meta.settings, quotaBytes: 1 }
        throw new MeshError('overloaded', 'No')
      }
    }
    const state = new MemoryState()
    const machine = new Machine(state, [{ areas: [], operations: [refused] }])
    const bytes = encodeCommand({ ...request(refused, undefined), stampMs: 7 })
    const before = machine.reads.meta
    machine.apply([{ index: 1, term: 1, bytes }])
    expect(machine.reads.meta).toEqual({ ...before, index: 1, term: 1, timeMs: 7 })
  })

  it('a bug in an operation is no answer', () => {
    const broken: AnyOperation = {
      ...TICK,
      name: 'broken',
      apply: () => {
        throw new TypeError('a bug')
      }
    }
    const state = new MemoryState()
    const machine = new Machine(state, [{ areas: [], operations: [broken] }])
    const bytes = encodeCommand({ ...request(broken, undefined), stampMs: 0 })
    expect(() => machine.apply([{ index: 1, term: 1, bytes }])).toThrow('a bug')
    expect(machine.index).toBe(0)
  })
})

describe('problemOf()', () => {
  it('lets a command into the log that all members can apply, and no other', () => {
    const { machine } = new Shard()
    expect(machine.problemOf(put('kv/a'))).toBeUndefined()
    const isOld = (name: string): boolean => name !== 'kv.txn@1'
    expect(machine.problemOf(put('kv/a'), isOld)?.code).toBe('version-mismatch')
    expect(machine.problemOf(put('kv/a'), () => true)).toBeUndefined()
    expect(machine.problemOf(put('kv/a').slice(0, -1))?.code).toBe('invalid-data')
    expect(machine.problemOf(new Uint8Array(COMMAND_BYTES_MAX + 1))?.code).toBe('too-large')
    const asked = { ...request(TICK, undefined), args: Uint8Array.of(1), stampMs: 0 }
    expect(machine.problemOf(encodeCommand(asked))?.code).toBe('invalid-data')
  })

  it('capabilities name what the machine can do', () => {
    expect(new Shard().machine.capabilities).toEqual([
      'client.forget@1',
      'client.register@1',
      'file.cycle@1',
      'file.mkdir@1',
      'file.mv@1',
      'file.pin@1',
      'file.put@1',
      'file.reap@1',
      'file.rm@1',
      'file.unpin@1',
      'job.cancel@1',
      'job.complete@1',
      'job.grant@1',
      'job.recall@1',
      'job.remove@1',
      'job.retry@1',
      'job.start@1',
      'job.submit@1',
      'job.submit@2',
      'kv.txn@1',
      'lease.grant@1',
      'lease.keepAlive@1',
      'lease.revoke@1',
      'lock.acquire@1',
      'lock.cancel@1',
      'lock.release@1',
      'machine.configure@1',
      'machine.tick@1'
    ])
    expect(() => new Machine(new MemoryState(), [KV, KV])).toThrow(/belongs to one service/)
  })
})

describe('a snapshot', () => {
  it('that is no state, or of a newer program, is refused', () => {
    const shard = new Shard()
    shard.put('kv/a', '1')
    const pairs = [...exportState(shard.state)]
    const meta = pairs[0] as { key: Uint8Array; value: Uint8Array }
    const install = (pairs: Iterable<{ key: Uint8Array; value: Uint8Array }>): string | undefined =>
      codeOf(() => importState(new MemoryState(), pairs))
    expect(install(pairs)).toBeUndefined()
    expect(install([])).toBe('invalid-data')
    expect(install(pairs.toReversed())).toBe('invalid-data')
    expect(install(pairs.slice(1))).toBe('invalid-data')
    expect(install([meta, meta])).toBe('invalid-data')
    const newer = { key: META_KEY, value: Uint8Array.of(2, ...meta.value.subarray(1)) }
    expect(install([newer, ...pairs.slice(1)])).toBe('version-mismatch')
    const cut = { key: META_KEY, value: meta.value.subarray(0, 3) }
    expect(install([cut])).toBe('invalid-data')
    expect(install([meta, { key: new Uint8Array(1_979).fill(9), value: meta.value }])).toBe(
      'invalid-data'
    )
  })

  it('stateHash() tells states apart', () => {
    const hash = (...pairs: [string, string][]): string => {
      const state = new MemoryState()
      for (const [key, value] of pairs) state.put(utf8(key), utf8(value))
      return stateHash(state)
    }
    const all = [
      hash(),
      hash(['a', '']),
      hash(['a', 'b']),
      hash(['ab', '']),
      hash(['a', 'b'], ['c', 'd']),
      hash(['a', 'bc'], ['d', '']),
      hash(['a', 'd'], ['c', 'b'])
    ]
    expect(new Set(all).size).toBe(all.length)
    expect(all[2]).toMatch(/^[0-9a-f]{16}$/)
    expect(hash(['c', 'd'], ['a', 'b'])).toBe(all[4])
    const seen = new Set<string>()
    for (let index = 0; index < 20_000; index++) seen.add(hash([`${index}`, 'x']))
    expect(seen.size).toBe(20_000)
  })
})

describe('resultOf()', () => {
  it('gives the result, or throws what it was refused with', () => {
    const shard = new Shard()
    const outcome = shard.applyBytes(put('kv/a')) as { answer: Answer }
    expect(resultOf(TXN, outcome.answer)).toEqual({ succeeded: true, results: [{ kind: 'put' }] })
    const other = shard.applyBytes(put('other/a')) as { answer: Answer }
    expect(codeOf(() => resultOf(TXN, other.answer))).toBe('invalid-argument')
  })
})
