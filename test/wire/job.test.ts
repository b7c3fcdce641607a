// The codec of protocols/job is written by hand; here it is held to the schema, both ways, and to its
// rules.

import { fromBinary, toBinary } from '@bufbuild/protobuf'
import type { DescMessage } from '@bufbuild/protobuf'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, toHex, utf8 } from '../../src/base/bytes.ts'
import { KIB, MIB } from '../../src/base/units.ts'
import { JOB_SPEC_BYTES_MAX } from '../../src/core/machine/limits.ts'
import { CallSchema, OffersSchema, ReplySchema } from '../../src/wire/generated/job/v1_pb.ts'
import {
  decodeJobCall,
  decodeJobOffers,
  decodeJobReply,
  encodeJobCall,
  encodeJobOffers,
  encodeJobReply,
  JOB_FRAME_BYTES_MAX,
  RUN_INPUTS_BYTES_MAX,
  RUN_TASKS_MAX
} from '../../src/wire/job.ts'
import type {
  CodeRef,
  ExplainCall,
  ExplainedReply,
  JobOffer,
  LogsCall,
  LogsReply,
  ProbeCall,
  ProbedReply,
  RanReply,
  Reason,
  RunCall,
  TaskLimits,
  TaskOutcome
} from '../../src/wire/job.ts'
import { OFFERS_MAX } from '../../src/wire/job-offers.ts'
import { OUTCOME_LOGS_BYTES_MAX, OUTPUT_BYTES_MAX } from '../../src/wire/job-outcome.ts'
import { LOGS_BYTES_MAX, REASONS_MAX } from '../../src/wire/job-reply.ts'
import { INPUT_BYTES_MAX, TASK_TIMEOUT_MS_MAX } from '../../src/wire/job-task.ts'
import { codeOf } from './codecs.ts'
import { callArb, offersArb, replyArb } from './job-values.ts'

/** Equal in both directions: ours read by ours, ours read and written by the schema. */
function expectBothWays<T>(
  arb: fc.Arbitrary<T>,
  parts: {
    encode: (value: T) => Uint8Array
    decode: (bytes: Uint8Array) => T
    schema: DescMessage
  }
): void {
  fc.assert(
    fc.property(arb, (value) => {
      const bytes = parts.encode(value)
      expect(parts.decode(bytes)).toEqual(value)
      const again = toBinary(parts.schema, fromBinary(parts.schema, bytes))
      expect(toHex(again)).toBe(toHex(bytes))
    }),
    { numRuns: 500 }
  )
}

describe('what is written by hand is what the schema says', () => {
  it('calls', () => {
    const [encode, decode] = [encodeJobCall, decodeJobCall]
    expectBothWays(callArb, { encode, decode, schema: CallSchema })
  })

  it('answers', () => {
    const [encode, decode] = [encodeJobReply, decodeJobReply]
    expectBothWays(replyArb, { encode, decode, schema: ReplySchema })
  })

  it('offers', () => {
    const [encode, decode] = [encodeJobOffers, decodeJobOffers]
    expectBothWays(offersArb, { encode, decode, schema: OffersSchema })
  })
})

const LIMITS: TaskLimits = { timeoutMs: 1_000, memoryBytes: MIB }
const EXEC: CodeRef = { kind: 'exec', command: 'true', args: [] }
const taskOf = (id: number, bytes = 0): RunCall['tasks'][number] => {
  return { id, input: new Uint8Array(bytes), fencingToken: 1 }
}
const runOf = (tasks: RunCall['tasks'], more: Partial<RunCall> = {}): RunCall => {
  const rest = { code: EXEC, task: '', submitter: 's', spec: new Uint8Array(0), limits: LIMITS }
  return { kind: 'run', ...rest, tasks, ...more }
}
const many = (count: number, bytes = 0): RunCall['tasks'] =>
  Array.from({ length: count }, (_, id) => taskOf(id, bytes))
/** What a careless sender would send: the message of the schema, whatever its values are. */
const runBytes = (...tasks: readonly Uint8Array[]): Uint8Array => {
  const known = encodeJobCall(runOf([taskOf(1)])).subarray(2)
  const run = concatBytes([known, ...tasks])
  return concatBytes([Uint8Array.of(0x0a), varint(run.length), run])
}
const varint = (value: number): Uint8Array =>
  value < 128
    ? Uint8Array.of(value)
    : concatBytes([Uint8Array.of((value % 128) + 128), varint(Math.floor(value / 128))])
const messageOf = (field: number, content: Uint8Array): Uint8Array =>
  concatBytes([varint(field * 8 + 2), varint(content.length), content])

describe('runs', () => {
  it('J-1 have 1 to 256 tasks, none of them twice', () => {
    expect(decodeJobCall(encodeJobCall(runOf(many(RUN_TASKS_MAX))))).toEqual(
      runOf(many(RUN_TASKS_MAX))
    )
    for (const tasks of [[], many(RUN_TASKS_MAX + 1), [taskOf(2), taskOf(1), taskOf(2)]]) {
      expect(codeOf(() => encodeJobCall(runOf(tasks)))).toBe('invalid-argument')
    }
    expect(decodeJobCall(encodeJobCall(runOf([taskOf(2), taskOf(1)])))).toEqual(
      runOf([taskOf(2), taskOf(1)])
    )
    const task = (id: number): Uint8Array =>
      messageOf(6, concatBytes([Uint8Array.of(8), varint(id)]))
    expect(codeOf(() => decodeJobCall(runBytes(task(2))))).toBe('none')
    expect(codeOf(() => decodeJobCall(runBytes(task(1))))).toBe('invalid-data')
    const tooMany = Array.from({ length: RUN_TASKS_MAX }, (_, id) => task(id + 2))
    expect(codeOf(() => decodeJobCall(runBytes(...tooMany.slice(1))))).toBe('none')
    expect(codeOf(() => decodeJobCall(runBytes(...tooMany)))).toBe('invalid-data')
  })

  it('J-1 have inputs up to a length, alone and together', () => {
    const most = runOf(many(RUN_INPUTS_BYTES_MAX / INPUT_BYTES_MAX, INPUT_BYTES_MAX))
    const spec = new Uint8Array(JOB_SPEC_BYTES_MAX)
    const bytes = encodeJobCall({ ...most, spec })
    expect(bytes.length + 16).toBeLessThan(JOB_FRAME_BYTES_MAX)
    expect(decodeJobCall(bytes)).toEqual({ ...most, spec })
    const tooLong = [
      runOf([taskOf(1, INPUT_BYTES_MAX + 1)]),
      runOf([...most.tasks, taskOf(99, 1)]),
      runOf([taskOf(1)], { spec: new Uint8Array(JOB_SPEC_BYTES_MAX + 1) }),
      runOf([taskOf(1)], { submitter: 'x'.repeat(65) })
    ]
    for (const call of tooLong) expect(codeOf(() => encodeJobCall(call))).toBe('too-large')

    const task = (id: number, length: number): Uint8Array =>
      messageOf(6, concatBytes([Uint8Array.of(8, id), messageOf(3, new Uint8Array(length))]))
    const full = [2, 3, 4, 5].map((id) => task(id, INPUT_BYTES_MAX))
    expect(codeOf(() => decodeJobCall(runBytes(...full)))).toBe('none')
    expect(codeOf(() => decodeJobCall(runBytes(...full, task(6, 1))))).toBe('invalid-data')
    expect(codeOf(() => decodeJobCall(runBytes(task(2, INPUT_BYTES_MAX + 1))))).toBe('invalid-data')
  })

  it('J-1 what the far end would refuse is refused before it is sent', () => {
    const wrong: Partial<RunCall>[] = [
      { limits: { timeoutMs: 0, memoryBytes: 1 } },
      { limits: { timeoutMs: TASK_TIMEOUT_MS_MAX + 1, memoryBytes: 1 } },
      { limits: { timeoutMs: 1.5, memoryBytes: 1 } },
      { limits: { timeoutMs: 1, memoryBytes: 0 } },
      { task: 'x'.repeat(129) },
      { code: { kind: 'bundle', cid: 'nonsense' }, task: 't' },
      { code: { kind: 'wasm', cid: `b${'a'.repeat(58)}` }, task: 't' },
      { code: { kind: 'exec', command: '', args: [] } },
      { code: { kind: 'exec', command: 'a\0', args: [] } },
      { code: { kind: 'exec', command: 'a', args: ['\0'] } },
      { code: { kind: 'exec', command: 'a', args: Array.from({ length: 65 }, () => '') } },
      { code: { kind: 'exec', command: 'a', args: ['x'.repeat(4 * KIB)] } },
      { tasks: [taskOf(-1)] },
      { tasks: [taskOf(2 ** 53)] },
      { tasks: [{ ...taskOf(1), fencingToken: Number.NaN }] }
    ]
    for (const more of wrong) {
      expect(codeOf(() => encodeJobCall(runOf([taskOf(1)], more)))).toBe('invalid-argument')
    }
  })

  it('J-1 bytes that come back are views: a call costs no copy of its inputs', () => {
    const bytes = encodeJobCall(runOf([taskOf(1, 100)]))
    const call = decodeJobCall(bytes) as RunCall
    expect(call.tasks[0]?.input.buffer).toBe(bytes.buffer)
  })
})

const EXPLAIN: ExplainCall = { kind: 'explain', spec: utf8('{}'), submitter: 's', space: '~job' }
const PROBE: ProbeCall = { kind: 'probe', spec: utf8('{}'), submitter: 's' }
const LOGS: LogsCall = { kind: 'logs', space: '~job', task: 1, attempt: 2 }

describe('questions', () => {
  it('J-1 are about the space of a job', () => {
    const longest = `~${'x'.repeat(200)}~999999999`
    for (const space of ['~a', '~a~1', '~A.b_c-9', longest]) {
      expect(decodeJobCall(encodeJobCall({ ...LOGS, space }))).toEqual({ ...LOGS, space })
    }
    const wrong = [
      '',
      '~',
      'a',
      '~a~',
      '~a~0',
      '~a~01',
      '~a/b',
      '~é',
      `~${'x'.repeat(201)}`,
      '~a\n'
    ]
    for (const space of wrong) {
      expect(codeOf(() => encodeJobCall({ ...LOGS, space }))).toBe('invalid-argument')
      expect(codeOf(() => encodeJobCall({ ...EXPLAIN, space }))).toBe('invalid-argument')
      const bytes = messageOf(4, messageOf(1, utf8(space)))
      expect(codeOf(() => decodeJobCall(bytes))).toBe('invalid-data')
    }
  })

  it('J-1 carry a spec up to 8 KiB', () => {
    for (const call of [PROBE, EXPLAIN]) {
      const most = { ...call, spec: new Uint8Array(JOB_SPEC_BYTES_MAX) }
      expect(decodeJobCall(encodeJobCall(most))).toEqual(most)
      const more = { ...call, spec: new Uint8Array(JOB_SPEC_BYTES_MAX + 1) }
      expect(codeOf(() => encodeJobCall(more))).toBe('too-large')
    }
  })
})

const done = (id: number, bytes: number, logs = ''): TaskOutcome => {
  return { kind: 'done', id, durationMs: 1, logs, output: new Uint8Array(bytes) }
}
const ranOf = (outcomes: readonly TaskOutcome[]): RanReply => ({ kind: 'ran', outcomes })
const ran = (reply: RanReply): readonly TaskOutcome[] => {
  const bytes = encodeJobReply(reply)
  expect(bytes.length + 16).toBeLessThan(JOB_FRAME_BYTES_MAX)
  return (decodeJobReply(bytes) as RanReply).outcomes
}

describe('answers to runs', () => {
  it('J-3 have an outcome for a task once, up to 256', () => {
    const most = Array.from({ length: RUN_TASKS_MAX }, (_, id) => done(id, 0))
    expect(ran(ranOf(most))).toEqual(most)
    for (const outcomes of [[], [...most, done(256, 0)], [done(1, 0), done(1, 0)]]) {
      expect(codeOf(() => encodeJobReply(ranOf(outcomes)))).toBe('invalid-argument')
    }
    const busy = (id: number): Uint8Array => messageOf(1, Uint8Array.of(8, id, 0x3a, 0))
    const read = (...outcomes: Uint8Array[]): string =>
      codeOf(() => decodeJobReply(messageOf(1, concatBytes(outcomes))))
    expect(read()).toBe('invalid-data')
    expect(read(busy(1), busy(2))).toBe('none')
    expect(read(busy(1), busy(1))).toBe('invalid-data')
    const short = messageOf(1, Uint8Array.of(0x3a, 0))
    expect(read(...Array.from({ length: RUN_TASKS_MAX + 1 }, () => short))).toBe('invalid-data')
  })

  it('J-4 a task that no slot was free for is busy, and is told from one that was lost', () => {
    const shared = { durationMs: 0, logs: '' }
    const outcomes: TaskOutcome[] = [
      { id: 1, kind: 'busy', ...shared },
      { id: 2, kind: 'lost', reason: '', ...shared }
    ]
    expect(ran(ranOf(outcomes))).toEqual(outcomes)
  })

  it('J-9 logs go first, then what has no room is lost', () => {
    const logs = 'x'.repeat(OUTCOME_LOGS_BYTES_MAX)
    const fits = ran(ranOf([done(1, MIB, logs), done(2, MIB / 2, logs)]))
    expect(fits.map((outcome) => [outcome.kind, outcome.logs.length])).toEqual([
      ['done', logs.length],
      ['done', logs.length]
    ])
    const room = JOB_FRAME_BYTES_MAX - 16 * KIB - MIB
    const without = ran(ranOf([done(1, MIB, logs), done(2, room - 512, logs)]))
    expect(without.map((outcome) => [outcome.kind, outcome.logs])).toEqual([
      ['done', ''],
      ['done', '']
    ])
    const lost = ran(ranOf([done(1, MIB), done(2, MIB), done(3, 10), done(4, MIB), done(5, 100)]))
    expect(lost.map(({ kind, id }) => [kind, id])).toEqual([
      ['done', 1],
      ['lost', 2],
      ['done', 3],
      ['lost', 4],
      ['done', 5]
    ])
  })

  it('J-9 an output that alone is too long fails its task, and cannot be retried', () => {
    const [outcome] = ran(ranOf([done(7, OUTPUT_BYTES_MAX + 1, 'what it said')]))
    expect(outcome).toMatchObject({ id: 7, code: 'too-large', isRetryable: false })
    expect(outcome?.logs).toBe('what it said')
    expect(ran(ranOf([done(7, OUTPUT_BYTES_MAX)]))[0]?.kind).toBe('done')
  })

  it('J-9 always fit a frame, and what is left out comes after what is there', () => {
    const sizes = fc.array(fc.tuple(fc.oneof(fc.nat(100), fc.nat(2 * MIB)), fc.nat(30_000)), {
      minLength: 1,
      maxLength: 60
    })
    fc.assert(
      fc.property(sizes, (all) => {
        const outcomes = all.map(([bytes, logs], id) => done(id, bytes, 'é'.repeat(logs)))
        const read = ran(ranOf(outcomes))
        expect(read.map(({ id }) => id)).toEqual(outcomes.map(({ id }) => id))
        // The first one always has its room.
        expect(read[0]?.kind).not.toBe('lost')
      }),
      { numRuns: 30 }
    )
    const failed = (id: number): TaskOutcome => {
      const texts = { logs: 'x'.repeat(MIB), code: 'x'.repeat(MIB), message: 'x'.repeat(MIB) }
      return { kind: 'failed', id, durationMs: 2 ** 53 - 1, ...texts, isRetryable: true }
    }
    const all = ran(ranOf(Array.from({ length: RUN_TASKS_MAX }, (_, id) => failed(2 ** 52 + id))))
    expect(new Set(all.map(({ kind }) => kind))).toEqual(new Set(['failed']))
  })

  it('a duration is a whole number of ms', () => {
    const read = ran(ranOf([{ ...done(1, 0), durationMs: 12.6 }]))
    expect(read[0]?.durationMs).toBe(13)
    for (const durationMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const reply = ranOf([{ ...done(1, 0), durationMs }])
      expect(codeOf(() => encodeJobReply(reply))).toBe('invalid-argument')
    }
  })
})

describe('texts for people', () => {
  it('J-10 are cut between characters: logs to their end, the rest to its beginning', () => {
    const long = 'a🏝é漢'.repeat(200_000)
    const outcome: TaskOutcome = { kind: 'lost', id: 1, durationMs: 0, logs: long, reason: long }
    const [read] = ran(ranOf([outcome]))
    if (read?.kind !== 'lost') return expect.fail('it is another one')
    expect(long.startsWith(read.reason)).toBe(true)
    expect(long.endsWith(read.logs)).toBe(true)
    expect(utf8(read.reason).length).toBeGreaterThan(KIB - 4)
    expect(utf8(read.logs).length).toBeGreaterThan(OUTCOME_LOGS_BYTES_MAX - 4)
    const reply: LogsReply = { kind: 'logs', text: long }
    const { text } = decodeJobReply(encodeJobReply(reply)) as LogsReply
    expect(long.endsWith(text)).toBe(true)
    expect(utf8(text).length).toBeGreaterThan(LOGS_BYTES_MAX - 4)
  })

  it('J-10 logs of any characters are cut to whole ones', () => {
    const unit = fc.constantFrom('a', 'é', '漢', '🏝')
    const texts = fc.array(unit, { minLength: 1, maxLength: 8 }).map((some) => some.join(''))
    fc.assert(
      fc.property(texts, fc.nat(9), (part, more) => {
        const logs = `${part.repeat(Math.ceil(OUTCOME_LOGS_BYTES_MAX / part.length))}${'x'.repeat(more)}`
        const [read] = ran(ranOf([done(1, 0, logs)]))
        expect(logs.endsWith(read?.logs ?? '?')).toBe(true)
        expect(utf8(read?.logs ?? '').length).toBeGreaterThan(OUTCOME_LOGS_BYTES_MAX - 4)
      })
    )
  })

  it('J-10 the first 16 reasons are sent', () => {
    const reason: Reason = { code: 'label', text: 'it has no camera' }
    const reasons = Array.from({ length: REASONS_MAX + 1 }, () => reason)
    const counts = { slots: 4, freeSlots: 0, waiting: 2, speedMilli: 1_000 }
    const probed: ProbedReply = { kind: 'probed', ...counts, reasons }
    const explained: ExplainedReply = { kind: 'explained', reasons, running: 3 }
    for (const reply of [probed, explained]) {
      const read = decodeJobReply(encodeJobReply(reply))
      expect(read).toEqual({ ...reply, reasons: reasons.slice(1) })
    }
    const inner = messageOf(1, new Uint8Array(0))
    const tooMany = concatBytes(reasons.map(() => inner))
    expect(codeOf(() => decodeJobReply(messageOf(3, tooMany)))).toBe('invalid-data')
  })
})

const OFFER: JobOffer = {
  space: '~job~3',
  priority: 9,
  ready: 4_096,
  submitter: 'somebody',
  estimateMs: undefined
}

describe('offers', () => {
  it('J-1 are 1 to 16, each of at most 1 KiB', () => {
    const most = Array.from({ length: OFFERS_MAX }, () => ({
      ...OFFER,
      space: `~${'x'.repeat(200)}~999999999`,
      submitter: 'y'.repeat(64),
      ready: 2 ** 53 - 1,
      estimateMs: 2 ** 53 - 1
    }))
    const bytes = encodeJobOffers(most)
    expect(decodeJobOffers(bytes)).toEqual(most)
    expect(bytes.length).toBeLessThan(OFFERS_MAX * KIB)
    expect(codeOf(() => encodeJobOffers([]))).toBe('invalid-argument')
    expect(codeOf(() => encodeJobOffers([...most, OFFER]))).toBe('invalid-argument')
    expect(codeOf(() => decodeJobOffers(concatBytes([bytes, encodeJobOffers([OFFER])])))).toBe(
      'invalid-data'
    )
    const padded = (length: number): Uint8Array =>
      messageOf(1, concatBytes([messageOf(1, utf8('~a')), messageOf(99, new Uint8Array(length))]))
    expect(codeOf(() => decodeJobOffers(padded(KIB - 8)))).toBe('none')
    expect(codeOf(() => decodeJobOffers(padded(KIB)))).toBe('invalid-data')
  })

  it('J-2 a message with one that is malformed is dropped as a whole', () => {
    const good = encodeJobOffers([OFFER])
    for (const bad of [messageOf(1, utf8('~')), messageOf(1, new Uint8Array(0)), utf8('x')]) {
      expect(codeOf(() => decodeJobOffers(concatBytes([good, bad])))).toBe('invalid-data')
    }
  })

  it('J-1 what receivers would refuse is refused before it is sent', () => {
    const wrong: Partial<JobOffer>[] = [
      { space: 'job' },
      { priority: 10 },
      { priority: 0.5 },
      { ready: -1 },
      { estimateMs: Number.NaN }
    ]
    for (const more of wrong) {
      expect(codeOf(() => encodeJobOffers([{ ...OFFER, ...more }]))).toBe('invalid-argument')
    }
    expect(codeOf(() => encodeJobOffers([{ ...OFFER, submitter: 'é'.repeat(33) }]))).toBe(
      'too-large'
    )
  })

  it('an estimate is at least a ms, and none stays none', () => {
    const estimates = [undefined, 0, 0.2, 1.4, 70_000.5].map((estimateMs) => {
      const [read] = decodeJobOffers(encodeJobOffers([{ ...OFFER, estimateMs }]))
      return read?.estimateMs
    })
    expect(estimates).toEqual([undefined, 1, 1, 1, 70_001])
  })
})
