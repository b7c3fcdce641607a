// Arbitrary values of protocols/raft.

import * as fc from 'fast-check'
import { NUMBER_MAX, PEER_MESSAGE_TYPES, createMessage } from '../../src/core/raft/messages.ts'
import type {
  ConfigState,
  Entry,
  HardState,
  Message,
  Snapshot
} from '../../src/core/raft/messages.ts'

const numberArb = fc.oneof(
  fc.nat({ max: 300 }),
  fc.integer({ min: 0, max: NUMBER_MAX }),
  fc.constantFrom(0, 127, 128, 2 ** 31, 2 ** 32, 2 ** 35 - 1, NUMBER_MAX)
)
const bytesArb = fc.uint8Array({ maxLength: 300 })
const idsArb = fc.array(numberArb, { maxLength: 5 })
export const membersArb: fc.Arbitrary<ConfigState> = fc.record({
  voters: idsArb,
  votersOutgoing: idsArb,
  learners: idsArb,
  learnersNext: idsArb,
  autoLeave: fc.boolean()
})
export const entryArb: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({
    type: fc.constant('normal' as const),
    term: numberArb,
    index: numberArb,
    data: bytesArb
  }),
  fc.record({
    type: fc.constant('config-change' as const),
    term: numberArb,
    index: numberArb,
    change: fc.record({
      transition: fc.constantFrom('auto' as const, 'implicit' as const, 'explicit' as const),
      steps: fc.array(
        fc.record({
          type: fc.constantFrom(
            'add-voter' as const,
            'add-learner' as const,
            'remove' as const,
            'update' as const
          ),
          id: numberArb
        }),
        { maxLength: 4 }
      ),
      context: bytesArb
    })
  })
)
export const hardStateArb: fc.Arbitrary<HardState> = fc.record({
  term: numberArb,
  vote: numberArb,
  commit: numberArb
})
export const snapshotArb: fc.Arbitrary<Snapshot> = fc.record({
  index: numberArb,
  term: numberArb,
  configState: membersArb,
  data: bytesArb
})
export const messageArb: fc.Arbitrary<Message> = fc
  .record({
    type: fc.constantFrom(...PEER_MESSAGE_TYPES),
    from: numberArb,
    to: numberArb,
    term: numberArb,
    logTerm: numberArb,
    index: numberArb,
    commit: numberArb,
    entries: fc.array(entryArb, { maxLength: 4 }),
    snapshot: fc.option(snapshotArb, { nil: undefined }),
    reject: fc.boolean(),
    rejectHint: numberArb,
    context: bytesArb,
    readSequence: numberArb,
    isTransfer: fc.boolean(),
    vote: numberArb
  })
  .map((draft) => createMessage(draft))
