// Any message, in any state: nothing throws, and no invariant of the replica breaks. A sender is
// who it says it is (the network sees to that), so nothing comes from the replica itself.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRandom } from '../../../src/base/random.ts'
import { RAFT_DEFAULTS } from '../../../src/core/raft/config.ts'
import { checkInvariants } from '../../../src/core/raft/invariants.ts'
import type { Remembered } from '../../../src/core/raft/invariants.ts'
import { MemoryStorage } from '../../../src/core/raft/memory-storage.ts'
import {
  NO_BYTES,
  NUMBER_MAX,
  PEER_MESSAGE_TYPES,
  createMessage
} from '../../../src/core/raft/messages.ts'
import type {
  ConfigChange,
  ConfigState,
  Entry,
  Message,
  MessageType
} from '../../../src/core/raft/messages.ts'
import { Raft } from '../../../src/core/raft/raft.ts'
import { configOf, normal } from './group.ts'

const SELF = 1

/** A number that means something only in the state that it meets. */
type Near = { readonly to: 'zero' | 'commit' | 'last' | 'term' | 'max'; readonly by: number }

type Wild = {
  /** Whether it is one that could come: only then does it get past the first checks. */
  readonly isPlausible: boolean
  readonly type: MessageType
  readonly from: number
  readonly to: number
  readonly term: Near
  readonly logTerm: Near
  readonly index: Near
  readonly commit: Near
  readonly rejectHint: Near
  readonly readSequence: number
  readonly reject: boolean
  readonly isTransfer: boolean
  readonly entries: readonly {
    readonly gap: number
    readonly rise: number
    readonly kind: number
  }[]
  readonly members: ConfigState
  readonly odd: 'none' | 'entries' | 'snapshot' | 'term' | 'index' | 'context' | 'type'
}

type Act =
  | { readonly kind: 'message'; readonly wild: Wild }
  | { readonly kind: 'tick'; readonly count: number }
  | { readonly kind: 'process' }
  | { readonly kind: 'storage'; readonly isAppend: boolean }
  | { readonly kind: 'lead' | 'campaign' | 'forget' | 'restart' | 'read' | 'propose' }
  | { readonly kind: 'transfer' | 'lost' | 'unreachable' | 'reported'; readonly id: number }
  | { readonly kind: 'change'; readonly change: ConfigChange }

const idArb = fc.integer({ min: 0, max: 5 })
const nearArb: fc.Arbitrary<Near> = fc.record({
  to: fc.constantFrom('zero', 'commit', 'last', 'last', 'term', 'term', 'max'),
  by: fc.integer({ min: -2, max: 2 })
})
const idsArb = fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 4 })
const membersArb: fc.Arbitrary<ConfigState> = fc
  .record({
    voters: idsArb,
    votersOutgoing: idsArb,
    learners: idsArb,
    learnersNext: fc.constantFrom<number[]>([], [2], [3]),
    autoLeave: fc.boolean(),
    isOrdered: fc.integer({ min: 0, max: 3 })
  })
  .map(({ isOrdered, ...lists }) => {
    if (isOrdered === 0) return lists
    const voters = lists.voters.toSorted((a, b) => a - b)
    const learners = lists.learners.filter((id) => !voters.includes(id)).toSorted((a, b) => a - b)
    return configOf(voters, { learners })
  })
const changeArb: fc.Arbitrary<ConfigChange> = fc.record({
  transition: fc.constantFrom('auto', 'implicit', 'explicit'),
  steps: fc.array(
    fc.record({
      type: fc.constantFrom('add-voter', 'add-learner', 'remove', 'update'),
      id: idArb
    }),
    { maxLength: 3 }
  ),
  context: fc.constant(NO_BYTES)
})
const wildArb: fc.Arbitrary<Wild> = fc.record({
  isPlausible: fc.integer({ min: 0, max: 9 }).map((roll) => roll > 0),
  type: fc.constantFrom<MessageType>(
    ...PEER_MESSAGE_TYPES,
    'append',
    'append',
    'append-response',
    'append-response',
    'vote-response',
    'pre-vote-response',
    'storage-append',
    'storage-append-response',
    'storage-apply-response'
  ),
  from: fc.integer({ min: 0, max: 5 }).map((id) => (id === SELF ? 2 : id)),
  to: fc.constantFrom(SELF, SELF, SELF, SELF, SELF, SELF, SELF, 2),
  term: nearArb,
  logTerm: nearArb,
  index: nearArb,
  commit: nearArb,
  rejectHint: nearArb,
  readSequence: fc.integer({ min: 0, max: 3 }),
  reject: fc.boolean(),
  isTransfer: fc.boolean(),
  entries: fc.array(
    fc.record({
      gap: fc.constantFrom(1, 1, 1, 1, 1, 1, 0, 2),
      rise: fc.constantFrom(0, 0, 0, 0, 1, -1),
      kind: fc.integer({ min: 0, max: 4 })
    }),
    { maxLength: 3 }
  ),
  members: membersArb,
  odd: fc.constantFrom(
    'none',
    'none',
    'none',
    'none',
    'none',
    'none',
    'none',
    'none',
    'none',
    'entries',
    'snapshot',
    'term',
    'index',
    'context',
    'type'
  )
})
const actArb: fc.Arbitrary<Act> = fc.oneof(
  { weight: 12, arbitrary: wildArb.map((wild) => ({ kind: 'message', wild }) as const) },
  {
    weight: 2,
    arbitrary: fc.integer({ min: 1, max: 12 }).map((count) => ({ kind: 'tick', count }) as const)
  },
  { weight: 5, arbitrary: fc.constant({ kind: 'process' } as const) },
  {
    weight: 3,
    arbitrary: fc.boolean().map((isAppend) => ({ kind: 'storage', isAppend }) as const)
  },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom('lead', 'lead', 'lead', 'campaign', 'forget', 'restart', 'read', 'propose')
      .map((kind) => ({ kind }) as const)
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('transfer', 'lost', 'unreachable', 'reported'), idArb)
      .map(([kind, id]) => ({ kind, id }) as const)
  },
  { weight: 1, arbitrary: changeArb.map((change) => ({ kind: 'change', change }) as const) }
)

/** One replica between its storage, of which this is in charge, and a network that lies. */
class Victim {
  raft: Raft
  readonly storage = new MemoryStorage()
  readonly #isAsync: boolean
  readonly #committed = new Map<number, number>()
  #before: Remembered | undefined
  #appends: Message[] = []
  #applies: Message[] = []
  #applied = 0
  #members: ConfigState

  constructor(isAsync: boolean, members: ConfigState) {
    this.#isAsync = isAsync
    this.#members = members
    this.storage.setConfigState(members)
    this.raft = this.#start()
  }

  #start(): Raft {
    const config = {
      ...RAFT_DEFAULTS,
      id: SELF,
      applied: this.#applied,
      asyncStorageWrites: this.#isAsync,
      electionTicks: 5,
      inflightCountMax: 2,
      appendBytesMax: 60,
      committedBytesMax: 60,
      uncommittedBytesMax: 20,
      pendingReadsMax: 2
    }
    return new Raft({ config, random: createRandom(7), storage: this.storage })
  }

  do(act: Act): void {
    this.#act(act)
    this.#before = checkInvariants(this.raft, this.#before)
    this.#checkCommitted()
  }

  #act(act: Act): void {
    const { raft } = this
    switch (act.kind) {
      case 'message':
        raft.step(this.#message(act.wild))
        break
      case 'tick':
        for (let n = 0; n < act.count; n++) raft.tick()
        break
      case 'process':
        this.#process()
        break
      case 'storage':
        this.#store(act.isAppend)
        break
      case 'campaign':
        raft.campaign()
        break
      case 'lead':
        this.#lead()
        break
      case 'forget':
        raft.forgetLeader()
        break
      case 'restart':
        this.#restart()
        break
      case 'read':
        raft.readIndex(new Uint8Array(1))
        break
      case 'propose':
        raft.propose([new Uint8Array(5), new Uint8Array(9)])
        break
      case 'change':
        raft.proposeConfigChange(act.change)
        break
      case 'transfer':
        raft.transferLeader(act.id)
        break
      case 'lost':
        raft.connectionLost(act.id)
        break
      case 'unreachable':
        raft.reportUnreachable(act.id)
        break
      case 'reported':
        raft.reportSnapshot(act.id, act.id % 2 === 0)
        break
    }
  }

  /** Campaigns, and everybody says yes. */
  #lead(): void {
    const { raft } = this
    raft.campaign()
    for (let round = 0; round < 4 && raft.state.role !== 'leader'; round++) {
      this.#process()
      while (this.#appends.length > 0) this.#store(true)
      const { role, term } = raft.state
      if (role === 'follower') return
      const type = role === 'candidate' ? 'vote-response' : 'pre-vote-response'
      const answer = { type, to: SELF, term: role === 'candidate' ? term : term + 1 } as const
      for (const from of [2, 3, 4]) raft.step(createMessage({ ...answer, from }))
    }
  }

  #process(): void {
    const { raft, storage } = this
    if (!raft.hasReady()) return
    const ready = raft.take()
    for (const message of ready.messages) {
      if (message.type === 'storage-append') this.#appends.push(message)
      else if (message.type === 'storage-apply') this.#applies.push(message)
      else expect(message.to).not.toBe(SELF)
    }
    if (this.#isAsync) return
    if (ready.hardState !== undefined) storage.setHardState(ready.hardState)
    this.#install(ready.snapshot)
    storage.append(ready.entries)
    this.#apply(ready.committedEntries)
    raft.advance()
  }

  #install(snapshot: Message['snapshot']): void {
    if (snapshot === undefined) return
    this.storage.applySnapshot(snapshot)
    this.#members = snapshot.configState
    this.#applied = snapshot.index
  }

  #apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      expect(entry.index).toBe(this.#applied + 1)
      this.#applied = entry.index
      if (entry.type !== 'config-change') continue
      this.#members = this.raft.applyConfigChange(entry.change).configState
    }
  }

  #store(isAppend: boolean): void {
    const work = (isAppend ? this.#appends : this.#applies).shift()
    if (work === undefined) return
    if (work.term > 0) this.storage.setHardState(work)
    if (isAppend) {
      this.#install(work.snapshot)
      this.storage.append(work.entries)
    } else {
      this.#apply(work.entries.filter(({ index }) => index > this.#applied))
    }
    for (const answer of work.responses) if (answer.to === SELF) this.raft.step(answer)
  }

  #restart(): void {
    this.#appends = []
    this.#applies = []
    this.storage.setConfigState(this.#members)
    // What was committed and not written down as such is committed by the leader's word again.
    this.#committed.clear()
    this.#before = undefined
    this.raft = this.#start()
  }

  #near({ to, by }: Near): number {
    const { log, term } = this.raft.state
    const of = { zero: 0, commit: log.committed, last: log.lastIndex, term, max: NUMBER_MAX }
    return of[to] + by
  }

  #message(wild: Wild): Message {
    const { type, from, to, readSequence, reject, isTransfer, odd } = wild
    const numbers = wild.isPlausible ? this.#plausible(wild) : this.#any(wild)
    const { term, index, logTerm, commit, rejectHint } = numbers
    let at = index
    let entryTerm = Math.max(1, logTerm)
    const entries = wild.entries.map(({ gap, rise, kind }): Entry => {
      at += wild.isPlausible ? 1 : gap
      entryTerm = wild.isPlausible ? Math.min(term, entryTerm + Math.abs(rise)) : entryTerm + rise
      if (kind > 0) return normal(entryTerm, at, 'x')
      const change: ConfigChange = {
        transition: 'auto',
        steps: [{ type: 'add-learner', id: 5 }],
        context: NO_BYTES
      }
      return { type: 'config-change', term: entryTerm, index: at, change }
    })
    const isSnapshot = type === 'snapshot' || type === 'storage-append-response'
    const { members: configState } = wild
    const snapshot = { index: commit, term: logTerm, configState, data: NO_BYTES }
    const message = createMessage({
      type,
      from: wild.isPlausible && from === 0 ? 3 : from,
      to: wild.isPlausible ? SELF : to,
      term,
      index,
      logTerm,
      commit,
      rejectHint,
      readSequence,
      reject,
      isTransfer,
      entries,
      snapshot: isSnapshot ? snapshot : undefined
    })
    return odd === 'none' || wild.isPlausible ? message : { ...message, ...ODD[odd] }
  }

  /** Numbers of any size, mostly near the limits of what is known. */
  #any(wild: Wild): Record<'term' | 'index' | 'logTerm' | 'commit' | 'rejectHint', number> {
    const near = ({ to, by }: Near): number => this.#near({ to, by })
    return {
      term: near(wild.term),
      index: near(wild.index),
      logTerm: near(wild.logTerm),
      commit: near(wild.commit),
      rejectHint: near(wild.rejectHint)
    }
  }

  /** Numbers that fit each other and this replica, or just not. */
  #plausible(wild: Wild): Record<'term' | 'index' | 'logTerm' | 'commit' | 'rejectHint', number> {
    const { log, term: own } = this.raft.state
    const isTrial = wild.type === 'pre-vote' || wild.type === 'pre-vote-response'
    // Mostly this term, or a message would end every role at once.
    const rise = wild.term.to === 'term' || wild.term.to === 'last' ? 0 : Math.sign(wild.term.by)
    const term = Math.max(1, own + rise + (isTrial ? 1 : 0))
    const base =
      wild.index.to === 'commit' || wild.index.to === 'zero' ? log.committed : log.lastIndex
    const index = Math.max(0, base + (wild.index.to === 'max' ? wild.index.by : 0))
    const logTerm = Math.min(term, Math.max(index > 0 ? 1 : 0, log.termAt(index)))
    const near = (by: number): number => Math.max(1, log.committed + by)
    const commit = wild.type === 'snapshot' ? near(wild.commit.by) : near(wild.commit.by + 1)
    return { term, index, logTerm, commit, rejectHint: Math.max(0, index + wild.rejectHint.by) }
  }

  /** What is committed here never changes afterwards. */
  #checkCommitted(): void {
    const { log } = this.raft.state
    for (
      let index = log.firstIndex;
      index <= Math.min(log.committed, log.firstIndex + 64);
      index++
    ) {
      const term = log.termAt(index)
      const known = this.#committed.get(index)
      if (known !== undefined) expect([index, term]).toEqual([index, known])
      this.#committed.set(index, term)
    }
  }
}

/** Fields as no decoder gives them, or as only a liar does. */
const ODD: Readonly<Record<Exclude<Wild['odd'], 'none'>, object>> = {
  entries: { entries: [undefined, { type: 'normal', term: 1, index: 'x' }] },
  snapshot: { snapshot: { index: 3, term: 1, configState: {}, data: NO_BYTES } },
  term: { term: Number.NaN },
  index: { index: 1.5 },
  context: { context: 'text' },
  type: { type: 'constructor' }
}

const starts: readonly [string, boolean, ConfigState][] = [
  ['one of three, writing synchronously', false, configOf([1, 2, 3])],
  ['one of three, writing asynchronously', true, configOf([1, 2, 3])],
  ['alone', false, configOf([1])],
  ['a learner', true, configOf([2, 3], { learners: [1] })],
  ['without members', false, configOf([])],
  [
    'one of a joint configuration',
    true,
    configOf([1, 2], { votersOutgoing: [1, 3, 4], learnersNext: [4], autoLeave: true })
  ]
]

describe('any message in any state', () => {
  for (const [name, isAsync, members] of starts) {
    it(`${name}: nothing throws, no invariant breaks`, () => {
      fc.assert(
        fc.property(fc.array(actArb, { maxLength: 60, size: 'max' }), (acts) => {
          const victim = new Victim(isAsync, members)
          for (const act of acts) victim.do(act)
        }),
        { numRuns: Number(process.env['ATOLL_HOSTILE_RUNS'] ?? 400) }
      )
    })
  }
})
