// what no right replica sends is refused before anything in it is believed.

import { describe, expect, it } from 'vitest'
import { NO_BYTES, NUMBER_MAX, createMessage } from '../../../src/core/raft/messages.ts'
import type { MessageDraft } from '../../../src/core/raft/messages.ts'
import { bytes, configOf, normal, replica } from './group.ts'

const members = configOf([1, 2, 3])
const snapshot = { index: 5, term: 1, configState: members, data: NO_BYTES }
const append = { type: 'append', from: 2, term: 2 } as const

describe('R-2 malformed messages are refused and change nothing', () => {
  const cases: readonly [string, Omit<MessageDraft, 'to'>][] = [
    ['a term that is no number', { ...append, term: Number.NaN }],
    ['a term below 0', { ...append, term: -1 }],
    ['a term beyond all terms', { ...append, term: NUMBER_MAX + 1 }],
    ['no term', { ...append, term: 0 }],
    ['an index that is no integer', { ...append, index: 1.5 }],
    ['no sender', { ...append, from: 0 }],
    ['this replica as the sender', { ...append, from: 1 }],
    ['a log of a later term', { ...append, index: 1, logTerm: 3 }],
    ['a term before the first entry', { ...append, logTerm: 1 }],
    ['a gap in its entries', { ...append, entries: [normal(1, 1), normal(1, 3)] }],
    ['entries that do not follow', { ...append, index: 1, logTerm: 1, entries: [normal(1, 3)] }],
    ['terms that fall', { ...append, entries: [normal(2, 1), normal(1, 2)] }],
    ['entries of a later term', { ...append, entries: [normal(3, 1)] }],
    ['an entry without a term', { ...append, entries: [normal(0, 1)] }],
    ['an entry that is missing', { ...append, entries: [undefined as never] }],
    ['an entry of no type', { ...append, entries: [{ ...normal(1, 1), type: 'odd' as never }] }],
    ['an entry without bytes', { ...append, entries: [{ ...normal(1, 1), data: 'x' as never }] }],
    ['entries beyond all indexes', { ...append, index: NUMBER_MAX, entries: [normal(1, 1)] }],
    ['a vote of a later log', { type: 'vote', from: 2, term: 2, logTerm: 3, index: 1 }],
    ['no snapshot', { type: 'snapshot', from: 2, term: 2 }],
    [
      'a snapshot of a later term',
      { type: 'snapshot', from: 2, term: 2, snapshot: { ...snapshot, term: 3 } }
    ],
    [
      'a snapshot without an index',
      { type: 'snapshot', from: 2, term: 2, snapshot: { ...snapshot, index: 0 } }
    ],
    [
      'a snapshot without voters',
      { type: 'snapshot', from: 2, term: 2, snapshot: { ...snapshot, configState: configOf([]) } }
    ],
    [
      'a snapshot whose learner is a voter',
      {
        type: 'snapshot',
        from: 2,
        term: 2,
        snapshot: { ...snapshot, configState: configOf([1, 2], { learners: [2] }) }
      }
    ],
    [
      'a snapshot whose members are in no order',
      {
        type: 'snapshot',
        from: 2,
        term: 2,
        snapshot: { ...snapshot, configState: configOf([2, 1]) }
      }
    ],
    [
      'a snapshot that is joint in part',
      {
        type: 'snapshot',
        from: 2,
        term: 2,
        snapshot: { ...snapshot, configState: configOf([1, 2], { autoLeave: true }) }
      }
    ],
    ['nothing to propose', { type: 'propose', from: 2 }],
    ['a context that is no bytes', { type: 'read-index', from: 2, context: 'x' as never }]
  ]
  for (const [name, draft] of cases) {
    it(name, () => {
      const one = replica({ term: 1 })
      expect(one.step(draft)).toMatchObject({ refusal: 'malformed' })
      expect(one.state).toMatchObject({ term: 1, role: 'follower', leader: 0 })
      expect([one.log, one.raft.hasReady()]).toEqual(['', false])
    })
  }

  it('what only a storage says, from a peer', () => {
    const one = replica({ term: 1 })
    const draft = { from: 2, term: 1, index: 1, logTerm: 1 }
    for (const type of ['storage-append-response', 'storage-apply-response'] as const) {
      expect(one.step({ ...draft, type })).toMatchObject({ refusal: 'malformed' })
    }
  })

  it('a message for another replica', () => {
    const one = replica()
    const refused = one.raft.step(createMessage({ ...append, to: 3 }))
    expect(refused).toEqual({ refusal: 'misdirected', problem: 'it is for 3' })
  })

  it('an answer of somebody who is no member', () => {
    const one = replica()
    one.lead()
    const refused = one.step({ type: 'append-response', from: 9, term: 1, index: 1 })
    expect(refused).toMatchObject({ refusal: 'unknown-replica' })
  })

  it('two leaders in one term', () => {
    const one = replica()
    one.step({ type: 'heartbeat', from: 2, term: 1 })
    expect(one.step({ type: 'append', from: 3, term: 1 })).toMatchObject({ refusal: 'impossible' })
    expect(one.state.leader).toBe(2)
    const leader = replica()
    leader.lead()
    expect(leader.step({ type: 'heartbeat', from: 2, term: 1 })).toMatchObject({
      refusal: 'impossible'
    })
    expect(leader.state.role).toBe('leader')
  })

  it('a change of members that no user can mean', () => {
    const one = replica()
    one.lead()
    const change = { transition: 'auto', steps: [{ type: 'odd', id: 2 }], context: bytes('') }
    expect(one.raft.proposeConfigChange(change as never)).toMatchObject({ refusal: 'malformed' })
    expect(one.raft.propose([])).toMatchObject({ refusal: 'malformed' })
  })
})
