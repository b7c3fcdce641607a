// Arbitrary values of protocols/job, as the codec gives them back.

import * as fc from 'fast-check'
import { concatBytes } from '../../src/base/bytes.ts'
import { blockIdFromBytes } from '../../src/core/block/block-id.ts'
import type { LabelRule } from '../../src/core/jobs/requirements.ts'
import type { JobSpec } from '../../src/services/compute/spec.ts'
import { TASK_TIMEOUT_MS_MAX } from '../../src/wire/job-task.ts'
import type {
  CodeRef,
  JobCall,
  JobOffer,
  JobReply,
  Reason,
  TaskLimits,
  TaskOutcome
} from '../../src/wire/job.ts'

const numberArb = fc.oneof(fc.nat({ max: 300 }), fc.maxSafeNat())
const fromOne = (max: number): fc.Arbitrary<number> =>
  fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max }))
const bytesArb = fc.uint8Array({ maxLength: 100 })
const textArb = fc.string({ unit: fc.constantFrom('a', 'z', ' ', 'é', '漢', '🏝'), maxLength: 16 })
const nameArb = fc.string({ unit: fc.constantFrom('a', 'é', '-', '🏝'), minLength: 1, maxLength: 9 })
const spaceArb = fc
  .tuple(fc.stringMatching(/^[A-Za-z0-9._-]{1,200}$/), fc.nat({ max: 999_999_999 }))
  .map(([id, part]) => (part === 0 ? `~${id}` : `~${id}~${part}`))

const cidArb = fc
  .tuple(fc.constantFrom(0x55, 0x70), fc.uint8Array({ minLength: 32, maxLength: 32 }))
  .map(([codec, digest]): string =>
    blockIdFromBytes(concatBytes([Uint8Array.of(1, codec, 0x12, 0x20), digest]))
  )
const codeArb: fc.Arbitrary<CodeRef> = fc.oneof(
  fc.record({ kind: fc.constantFrom('bundle' as const, 'wasm' as const), cid: cidArb }),
  fc.record({
    kind: fc.constant('exec' as const),
    command: nameArb,
    args: fc.array(textArb, { maxLength: 5 })
  })
)
const limitsArb: fc.Arbitrary<TaskLimits> = fc.record({
  timeoutMs: fromOne(TASK_TIMEOUT_MS_MAX),
  memoryBytes: fromOne(Number.MAX_SAFE_INTEGER)
})

export const callArb: fc.Arbitrary<JobCall> = fc.oneof(
  fc.record({
    kind: fc.constant('run' as const),
    code: codeArb,
    task: nameArb,
    submitter: textArb,
    spec: bytesArb,
    limits: limitsArb,
    tasks: fc.uniqueArray(fc.record({ id: numberArb, input: bytesArb, fencingToken: numberArb }), {
      minLength: 1,
      maxLength: 6,
      selector: ({ id }) => id
    })
  }),
  fc.record({ kind: fc.constant('probe' as const), spec: bytesArb, submitter: textArb }),
  fc.record({
    kind: fc.constant('explain' as const),
    spec: bytesArb,
    submitter: textArb,
    space: spaceArb
  }),
  fc.record({
    kind: fc.constant('logs' as const),
    space: spaceArb,
    task: numberArb,
    attempt: numberArb
  })
)

const shared = { id: numberArb, durationMs: numberArb, logs: textArb }
const outcomeArb: fc.Arbitrary<TaskOutcome> = fc.oneof(
  fc.record({ kind: fc.constant('done' as const), ...shared, output: bytesArb }),
  fc.record({
    kind: fc.constant('failed' as const),
    ...shared,
    code: textArb,
    message: textArb,
    isRetryable: fc.boolean()
  }),
  fc.record({ kind: fc.constant('lost' as const), ...shared, reason: textArb }),
  fc.record({ kind: fc.constant('busy' as const), ...shared })
)
const reasonsArb: fc.Arbitrary<Reason[]> = fc.array(fc.record({ code: textArb, text: textArb }), {
  maxLength: 4
})
export const replyArb: fc.Arbitrary<JobReply> = fc.oneof(
  fc.record({
    kind: fc.constant('ran' as const),
    outcomes: fc.uniqueArray(outcomeArb, { minLength: 1, maxLength: 6, selector: ({ id }) => id })
  }),
  fc.record({
    kind: fc.constant('probed' as const),
    slots: numberArb,
    freeSlots: numberArb,
    waiting: numberArb,
    speedMilli: numberArb,
    reasons: reasonsArb
  }),
  fc.record({ kind: fc.constant('explained' as const), reasons: reasonsArb, running: numberArb }),
  fc.record({ kind: fc.constant('logs' as const), text: textArb })
)

export const offersArb: fc.Arbitrary<JobOffer[]> = fc.array(
  fc.record({
    space: spaceArb,
    priority: fc.nat({ max: 9 }),
    ready: numberArb,
    submitter: textArb,
    estimateMs: fc.option(fromOne(Number.MAX_SAFE_INTEGER), { nil: undefined })
  }),
  { minLength: 1, maxLength: 16 }
)

export const manifestArb: fc.Arbitrary<Uint8Array[]> = fc.array(bytesArb, {
  minLength: 1,
  maxLength: 12
})

const ruleArb: fc.Arbitrary<LabelRule> = fc.oneof(
  fc.record({ key: nameArb, op: fc.constantFrom('=' as const, '!=' as const), value: textArb }),
  fc.record({ key: nameArb, op: fc.constant('exists' as const) })
)
const rulesArb = fc.array(ruleArb, { maxLength: 4 })
export const specArb: fc.Arbitrary<JobSpec> = codeArb.chain((code) =>
  fc.record(
    {
      task: nameArb,
      code: fc.constant(code),
      limits: limitsArb,
      requirements: fc.record({
        cpuMilli: fc.nat({ max: 1_000_000 }),
        memoryBytes: numberArb,
        gpu: fc.nat({ max: 1_024 }),
        labels: rulesArb,
        isExec: fc.constant(code.kind === 'exec'),
        prefers: rulesArb
      }),
      manifest: fc.oneof(
        fc.record({
          kind: fc.constant('inline' as const),
          inputs: fc.array(bytesArb, { maxLength: 8 })
        }),
        fc.record({ kind: fc.constant('file' as const), path: nameArb })
      ),
      stages: fc.array(
        fc.record(
          { name: nameArb, isOne: fc.boolean(), isByReference: fc.constant(true) },
          { requiredKeys: ['name', 'isOne'] }
        ),
        { maxLength: 4 }
      ),
      parts: fc.integer({ min: 2, max: 4_096 })
    },
    { requiredKeys: ['task', 'code', 'limits', 'requirements', 'manifest'] }
  )
)
