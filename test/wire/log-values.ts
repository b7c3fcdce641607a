// Arbitrary values of protocols/log.

import * as fc from 'fast-check'
import { NUMBER_MAX } from '../../src/core/raft/messages.ts'
import type { Entry } from '../../src/core/raft/messages.ts'
import type { GroupUpdate } from '../../src/storage/log/payload.ts'
import { termRuns } from '../../src/storage/log/payload.ts'
import { entryArb, hardStateArb, membersArb } from './raft-values.ts'

const numberArb = fc.oneof(fc.nat({ max: 300 }), fc.integer({ min: 0, max: NUMBER_MAX }))

export const segmentHeadArb: fc.Arbitrary<object> = fc.record({
  number: numberArb,
  size: fc.integer({ min: 0, max: 0xffff_ffff }),
  logId: fc.uint8Array({ minLength: 16, maxLength: 16 })
})

export const recordArb: fc.Arbitrary<object> = fc
  .record({
    kind: fc.constantFrom('update', 'copy', 'catalog'),
    sequence: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: NUMBER_MAX })),
    before: numberArb,
    group: numberArb,
    back: numberArb,
    payload: fc.uint8Array({ minLength: 1, maxLength: 300 })
  })
  .map(({ before, back, ...rest }) => ({
    ...rest,
    // A batch and a record before are not of the time to come.
    batch: 1 + (before % rest.sequence),
    previous: back % rest.sequence
  }))

export const catalogArb: fc.Arbitrary<object> = fc.record({
  groups: fc.array(fc.record({ group: numberArb, last: numberArb, isDamaged: fc.boolean() }), {
    maxLength: 5
  })
})

/** Entries that follow each other, from any index on. */
const entriesArb: fc.Arbitrary<Entry[]> = fc
  .record({
    entries: fc.array(entryArb, { maxLength: 4 }),
    first: fc.integer({ min: 1, max: 1_000 })
  })
  .map(({ entries, first }) => entries.map((entry, place) => ({ ...entry, index: first + place })))

export const updateArb: fc.Arbitrary<object> = fc
  .record({
    isRemoved: fc.boolean(),
    isDamaged: fc.boolean(),
    hardState: fc.option(hardStateArb, { nil: undefined }),
    start: fc.option(fc.record({ index: numberArb, term: numberArb }), { nil: undefined }),
    configState: fc.option(membersArb, { nil: undefined }),
    truncateTo: fc.option(numberArb, { nil: undefined }),
    meta: fc.option(fc.uint8Array({ maxLength: 100 }), { nil: undefined }),
    entries: entriesArb
  })
  .map(({ entries, ...update }): GroupUpdate & { entries: Entry[] } => {
    const [first] = entries
    const range = first === undefined ? undefined : { first: first.index, terms: termRuns(entries) }
    return { ...update, range, entries }
  })
