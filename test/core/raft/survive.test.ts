// What has broken other implementations of Raft, each a test named after it.

import { describe, expect, it } from 'vitest'
import { MeshError } from '../../../src/base/errors.ts'
import { createRandom } from '../../../src/base/random.ts'
import { RAFT_DEFAULTS } from '../../../src/core/raft/config.ts'
import { MemoryStorage } from '../../../src/core/raft/memory-storage.ts'
import { APPEND_THREAD, createMessage } from '../../../src/core/raft/messages.ts'
import type { Message } from '../../../src/core/raft/messages.ts'
import { Raft } from '../../../src/core/raft/raft.ts'
import { Group, Replica, bytes, changeOf, configOf, normal, replica } from './group.ts'

const PLAIN = { preVote: false, checkQuorum: false } as const

/** One of three whose writes are asynchronous, with what its two storage threads have to do. */
function asyncReplica(): {
  raft: Raft
  storage: MemoryStorage
  take: () => { peers: Message[]; append: Message | undefined; apply: Message | undefined }
  write: (append: Message) => readonly Message[]
} {
  const storage = new MemoryStorage()
  storage.setConfigState(configOf([1, 2, 3]))
  const config = { ...RAFT_DEFAULTS, ...PLAIN, id: 1, asyncStorageWrites: true }
  const raft = new Raft({ config, random: createRandom(1), storage })
  return {
    raft,
    storage,
    take: () => {
      const { messages } = raft.take()
      return {
        peers: messages.filter(({ to }) => to > 0),
        append: messages.find(({ type }) => type === 'storage-append'),
        apply: messages.find(({ type }) => type === 'storage-apply')
      }
    },
    write: ({ term, vote, commit, entries, responses }) => {
      if (term > 0) storage.setHardState({ term, vote, commit })
      storage.append(entries)
      return responses
    }
  }
}

describe('committing', () => {
  it('R-5 figure 8: an entry of an earlier term is not committed by being on a majority', () => {
    const members = configOf([1, 2, 3, 4, 5])
    const one = replica({ members, terms: [1, 2], term: 3, config: PLAIN })
    one.lead()
    expect(one.state.term).toBe(4)
    // Entry 2 of term 2 is now on 1, 2 and 3; the entry of term 4 nowhere else.
    one.step({ type: 'append-response', from: 2, term: 4, index: 2 })
    one.step({ type: 'append-response', from: 3, term: 4, index: 2 })
    expect(one.state.log.committed).toBe(0)
    // So a candidate with an entry of term 3 may win with 3, 4 and 5, and replace it.
    const three = replica({ id: 3, members, terms: [1, 2], term: 4, config: PLAIN })
    three.step({ type: 'vote', from: 5, term: 5, index: 2, logTerm: 3 })
    expect(three.drain()).toMatchObject([{ type: 'vote-response', reject: false }])
    const entries = [normal(3, 2)]
    three.step({ type: 'append', from: 5, term: 5, index: 1, logTerm: 1, entries })
    expect(three.log).toBe('1/1 3/2')
  })

  it('the leader of one acknowledges nothing before its own log has it', () => {
    const one = replica({ members: configOf([1]) })
    one.raft.campaign()
    while (one.state.role !== 'leader') one.process()
    one.raft.propose([bytes('x')])
    const { entries, committedEntries } = one.raft.take()
    expect([entries.length, committedEntries.length]).toEqual([2, 0])
  })

  it('asynchronous: entries are applied only when they are durable here', () => {
    const { raft, take, write } = asyncReplica()
    const entries = [normal(1, 1, 'x')]
    raft.step(createMessage({ type: 'append', from: 2, to: 1, term: 1, entries, commit: 1 }))
    const first = take()
    expect([first.append?.entries.length, first.apply]).toEqual([1, undefined])
    expect(first.peers.map(({ type }) => type)).toEqual([])
    for (const answer of write(first.append as Message)) if (answer.to === 1) raft.step(answer)
    expect(take().apply?.entries).toEqual(entries)
  })

  it('a leader that leads again does not trust what it knew of others in its earlier term', () => {
    const one = replica({ config: PLAIN })
    one.lead()
    one.raft.propose([bytes('a'), bytes('b')])
    one.drain()
    // 2 has all three; 3 has none, and 1 sees none of it committed.
    one.step({ type: 'heartbeat-response', from: 2, term: 1 })
    const match = one.state.progressOf(2)
    expect(match?.match).toBe(0)
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    expect(one.state.progressOf(2)?.match).toBe(1)
    one.step({ type: 'append', from: 3, term: 2 })
    one.drain()
    one.lead()
    expect(one.state.progressOf(2)).toMatchObject({ match: 0, next: one.state.log.lastIndex })
  })

  it('asynchronous: an acknowledgement of entries that were replaced in the same term is ignored', () => {
    const { raft, take, write } = asyncReplica()
    const entries = [normal(1, 1, 'x')]
    raft.step(createMessage({ type: 'append', from: 2, to: 1, term: 1, entries }))
    raft.step(createMessage({ type: 'vote', from: 3, to: 1, term: 2, index: 5, logTerm: 1 }))
    const first = write(take().append as Message)
    const others = [normal(2, 1, 'y')]
    raft.step(
      createMessage({ type: 'append', from: 3, to: 1, term: 2, entries: others, commit: 1 })
    )
    raft.step(first.find(({ from }) => from === APPEND_THREAD) as Message)
    expect(raft.state.log.unstable.entries).toEqual(others)
    expect(take()).toMatchObject({ append: { entries: others }, apply: undefined })
  })

  it('asynchronous: what takes the place of entries on their way to the disk is written too', () => {
    const { raft, take } = asyncReplica()
    const entries = [1, 2, 3, 4].map((index) => normal(1, index))
    raft.step(createMessage({ type: 'append', from: 2, to: 1, term: 1, entries }))
    expect(take().append?.entries).toEqual(entries)
    const others = [normal(2, 3, 'y')]
    const draft = { type: 'append', from: 3, to: 1, term: 2, index: 2, logTerm: 1 } as const
    raft.step(createMessage({ ...draft, entries: others }))
    expect(take().append?.entries).toEqual(others)
  })

  it('asynchronous: what follows a snapshot is written, whatever was on its way before', () => {
    const { raft, take } = asyncReplica()
    const entries = Array.from({ length: 8 }, (_, place) => normal(1, place + 1))
    raft.step(createMessage({ type: 'append', from: 2, to: 1, term: 1, entries }))
    take()
    const configState = configOf([1, 2, 3])
    const snapshot = { index: 5, term: 2, configState, data: bytes('') }
    raft.step(createMessage({ type: 'snapshot', from: 3, to: 1, term: 2, snapshot }))
    expect(take().append).toMatchObject({ snapshot, entries: [] })
    const next = [normal(2, 6)]
    const draft = { type: 'append', from: 3, to: 1, term: 2, index: 5, logTerm: 2 } as const
    raft.step(createMessage({ ...draft, entries: next }))
    expect(take().append?.entries).toEqual(next)
  })

  it('no more is handed out to be applied than the limit, and the rest when that is done', () => {
    const one = replica({ members: configOf([1]), config: { committedBytesMax: 300 } })
    one.lead()
    one.raft.propose(Array.from({ length: 10 }, () => new Uint8Array(100)))
    const counts: number[] = []
    while (one.raft.hasReady()) counts.push(one.process().committedEntries.length)
    expect(counts.filter((count) => count > 0)).toEqual([2, 2, 2, 2, 2])
    expect(one.applied).toHaveLength(11)
  })

  it('asynchronous: the limit is on all that was handed out and is not applied', () => {
    const { raft, take, write } = asyncReplica()
    const sizes = Array.from({ length: 6 }, (_, place) => ({
      ...normal(1, place + 1),
      data: new Uint8Array(2_000_000)
    }))
    raft.step(createMessage({ type: 'append', from: 2, to: 1, term: 1, entries: sizes, commit: 6 }))
    for (const answer of write(take().append as Message)) if (answer.to === 1) raft.step(answer)
    const first = take().apply as Message
    expect(first.entries.map(({ index }) => index)).toEqual([1, 2])
    expect(raft.hasReady()).toBe(false)
    for (const answer of first.responses) raft.step(answer)
    expect(take().apply?.entries.map(({ index }) => index)).toEqual([3, 4])
  })

  it('asynchronous append, ABA: an old acknowledgement does not stand for an equal new entry', () => {
    const { raft, take, write } = asyncReplica()
    const append = (from: number, term: number, of: number): void => {
      const entries = [normal(of, 1, 'x')]
      raft.step(createMessage({ type: 'append', from, to: 1, term, entries }))
    }
    append(2, 1, 1)
    const first = take().append as Message
    append(3, 2, 2)
    const second = take().append as Message
    append(2, 3, 1)
    const third = take().append as Message
    const acks = [first, second, third].map(
      (work) => write(work).find(({ from }) => from === APPEND_THREAD) as Message
    )
    raft.step(acks[0] as Message)
    expect(raft.state.log.unstable.entries.length).toBe(1)
    raft.step(acks[1] as Message)
    expect(raft.state.log.unstable.entries.length).toBe(1)
    raft.step(acks[2] as Message)
    expect(raft.state.log.unstable.entries.length).toBe(0)
  })
})

describe('votes', () => {
  it('term and vote are written together', () => {
    const one = replica()
    one.step({ type: 'vote', from: 2, term: 9 })
    const ready = one.raft.take()
    expect([ready.hardState, ready.mustSync]).toEqual([{ term: 9, vote: 2, commit: 0 }, true])
    expect(ready.messages).toMatchObject([{ type: 'vote-response', to: 2 }])
  })

  it('R-3 asynchronous: the answer travels with the write that makes it true', () => {
    const { raft, take } = asyncReplica()
    raft.step(createMessage({ type: 'vote', from: 2, to: 1, term: 9 }))
    const { peers, append } = take()
    expect(peers).toEqual([])
    expect(append).toMatchObject({
      term: 9,
      vote: 2,
      responses: [{ type: 'vote-response', to: 2 }]
    })
  })

  it('stepping down in the same term keeps the vote', () => {
    const one = replica({ config: PLAIN })
    one.raft.campaign()
    one.drain()
    one.step({ type: 'vote-response', from: 2, term: 1, reject: true })
    one.step({ type: 'vote-response', from: 3, term: 1, reject: true })
    expect(one.state).toMatchObject({ role: 'follower', term: 1, vote: 1 })
    one.step({ type: 'vote', from: 2, term: 1, index: 5, logTerm: 1 })
    expect(one.drain()).toMatchObject([{ type: 'vote-response', reject: true }])
  })

  it('stepping down without a quorum keeps the vote', () => {
    const group = Group.of(3)
    group.elect(1)
    group.isolate(1)
    group.tick(2 * RAFT_DEFAULTS.electionTicks)
    expect(group.at(1).state).toMatchObject({ role: 'follower', vote: 1 })
  })

  it('votes of one campaign do not count in the next', () => {
    const one = replica({ members: configOf([1, 2, 3, 4, 5]), config: PLAIN })
    one.raft.campaign()
    one.drain()
    one.step({ type: 'vote-response', from: 2, term: 1 })
    one.raft.campaign()
    one.drain()
    one.step({ type: 'vote-response', from: 3, term: 2 })
    expect(one.state).toMatchObject({ role: 'candidate', term: 2 })
  })

  it('logs are compared by the term of their end first, by length second', () => {
    const one = replica({ terms: [1, 1, 1, 2], term: 2 })
    one.step({ type: 'vote', from: 2, term: 3, index: 9, logTerm: 1 })
    one.step({ type: 'vote', from: 3, term: 3, index: 2, logTerm: 3 })
    expect(one.drain().map(({ to, reject }) => [to, reject])).toEqual([
      [2, true],
      [3, false]
    ])
  })

  it('a learner votes when it is asked: it may be a voter and not know it yet', () => {
    const one = replica({ id: 4, members: configOf([1, 2], { learners: [4] }) })
    one.step({ type: 'vote', from: 1, term: 3 })
    expect(one.drain()).toMatchObject([{ type: 'vote-response', reject: false }])
  })

  it('R-9 a replica that never had members gives no vote', () => {
    const one = replica({ members: configOf([]) })
    one.step({ type: 'vote', from: 2, term: 3, index: 7, logTerm: 2 })
    one.step({ type: 'pre-vote', from: 2, term: 4, index: 7, logTerm: 2 })
    expect(one.drain().map(({ type, reject }) => [type, reject])).toEqual([
      ['vote-response', true],
      ['pre-vote-response', true]
    ])
  })
})

describe('logs', () => {
  it('an append that comes late does not cut off what was committed since', () => {
    const one = replica({ terms: [1], term: 1 })
    const entries = [2, 3, 4].map((index) => normal(1, index))
    one.step({ type: 'append', from: 2, term: 1, index: 1, logTerm: 1, entries, commit: 4 })
    one.step({ type: 'append', from: 2, term: 1, index: 1, logTerm: 1, entries: [normal(1, 2)] })
    expect([one.log, one.state.log.committed]).toEqual(['1/1 1/2 1/3 1/4', 4])
    expect(one.drain().at(-1)).toMatchObject({ type: 'append-response', index: 4 })
  })

  it('an append that contradicts what is committed is refused, and nothing changes', () => {
    const one = replica({ terms: [1, 1], term: 1, commit: 2 })
    const entries = [normal(2, 2)]
    const refused = one.step({ type: 'append', from: 2, term: 2, index: 1, logTerm: 1, entries })
    // What comes before the commit index is answered with the commit index.
    expect(refused).toBeUndefined()
    expect([one.log, one.drain().at(-1)?.index]).toEqual(['1/1 1/2', 2])
  })

  it('a log that begins after a gap behind its snapshot is refused at the start', () => {
    const storage = new MemoryStorage()
    const configState = configOf([1])
    storage.applySnapshot({ index: 5, term: 1, configState, data: bytes('') })
    expect(() => storage.append([normal(1, 7)])).toThrow(MeshError)
  })

  it('a hard state that names a commit beyond the log is refused at the start', () => {
    expect(() => replica({ terms: [1], term: 1, commit: 2 })).toThrow(
      /was committed and the log ends at 1/
    )
  })

  it('R-10 a heartbeat for entries that are lost here is reported and commits nothing', () => {
    const one = replica({ terms: [1], term: 1 })
    expect(one.step({ type: 'heartbeat', from: 2, term: 1, commit: 7 })).toMatchObject({
      refusal: 'data-loss'
    })
    expect([one.state.log.committed, one.drain()]).toEqual([0, []])
  })

  it('R-10 an acknowledgement beyond the log is refused and commits nothing', () => {
    const one = replica()
    one.lead()
    one.drain()
    expect(one.step({ type: 'append-response', from: 2, term: 1, index: 9 })).toMatchObject({
      refusal: 'impossible'
    })
    expect(one.state.log.committed).toBe(0)
  })
})

describe('members', () => {
  it('a joint configuration counts from the start on', () => {
    const one = replica({ members: configOf([1, 2, 3], { votersOutgoing: [4, 5, 6] }) })
    one.raft.campaign()
    one.drain()
    one.step({ type: 'pre-vote-response', from: 2, term: 1 })
    one.step({ type: 'pre-vote-response', from: 3, term: 1 })
    expect(one.state.role).toBe('pre-candidate')
  })

  it('members outlive two compactions and a restart', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('add-learner 4'))
    group.settle()
    for (const name of ['a', 'b']) {
      leader.raft.propose([bytes(name)])
      group.settle()
      const last = leader.applied.at(-1) as { index: number; term: number }
      const { configState } = leader
      leader.storage.setSnapshot({ ...last, configState, data: bytes('') })
      leader.storage.compact(last.index)
      leader.restart()
      expect(leader.raft.configState).toEqual(configOf([1, 2, 3], { learners: [4] }))
      group.tick(3 * RAFT_DEFAULTS.electionTicks)
      group.handOver(1)
      expect(group.leaders).toEqual([1])
    }
  })

  it('a snapshot brings its members along, in place of those known before', () => {
    const one = replica({ terms: [1], term: 1 })
    const configState = configOf([1, 4, 5])
    const snapshot = { index: 9, term: 2, configState, data: bytes('') }
    one.step({ type: 'snapshot', from: 4, term: 2, snapshot })
    expect(one.raft.configState).toEqual(configState)
    expect(one.raft.hasReady()).toBe(true)
    // Until it is installed this replica does not campaign, and applies nothing.
    one.raft.campaign()
    expect(one.state.role).toBe('follower')
    expect(one.raft.take().committedEntries).toEqual([])
  })

  it('a replica whose log waits for a snapshot says that it may not lead', () => {
    const one = replica({ terms: [1], term: 1 })
    const snapshot = { index: 9, term: 2, configState: configOf([1, 2, 3]), data: bytes('') }
    one.step({ type: 'snapshot', from: 2, term: 2, snapshot })
    one.raft.campaign()
    expect(one.events.at(-1)).toEqual({ type: 'campaign-refused', reason: 'unpromotable' })
  })

  it('a snapshot older than the log begins is answered and not installed', () => {
    const configState = configOf([1, 2, 3])
    const one = replica({ snapshot: { index: 9, term: 2, configState, data: bytes('') } })
    const snapshot = { index: 5, term: 1, configState, data: bytes('') }
    one.step({ type: 'snapshot', from: 2, term: 3, snapshot })
    const ready = one.process()
    expect(ready.snapshot).toBeUndefined()
    expect(ready.messages).toMatchObject([{ type: 'append-response', index: 9 }])
    expect(one.state.log.committed).toBe(9)
  })

  it('with fewer voters more is committed, at once', () => {
    const one = replica({ members: configOf([1, 2, 3, 4]) })
    one.lead()
    one.raft.proposeConfigChange(changeOf('remove 4'))
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.step({ type: 'append-response', from: 3, term: 1, index: 1 })
    one.drain()
    expect(one.state.log.applied).toBe(1)
    one.raft.proposeConfigChange(changeOf('remove 4'))
    one.raft.propose([bytes('x')])
    one.drain()
    const { lastIndex } = one.state.log
    one.step({ type: 'append-response', from: 2, term: 1, index: lastIndex })
    one.step({ type: 'append-response', from: 3, term: 1, index: lastIndex - 1 })
    one.drain()
    expect(one.raft.configState.voters).toEqual([1, 2, 3])
    expect(one.state.log.committed).toBe(lastIndex)
  })

  it('nobody campaigns with a committed change that is not applied', () => {
    const one = replica({ config: PLAIN })
    const entry = {
      type: 'config-change',
      term: 1,
      index: 1,
      change: changeOf('remove 1')
    } as const
    one.step({ type: 'append', from: 2, term: 1, entries: [entry], commit: 1 })
    one.raft.campaign()
    expect(one.state).toMatchObject({ role: 'follower', term: 1 })
    one.drain()
    one.raft.campaign()
    expect(one.state.role).toBe('follower')
  })

  it('two single-server changes by two leaders: the second waits for the first commit of its term', () => {
    // Ongaro, raft-dev 2015: {1,2,3,4}; 1 adds 5 and tells nobody; 2 leads by 3 and 4 and removes 1.
    const two = replica({ id: 2, members: configOf([1, 2, 3, 4]), terms: [1], term: 1 })
    two.lead()
    two.raft.proposeConfigChange(changeOf('remove 1'))
    two.drain()
    expect(two.log).toBe('1/1 2/2 2/3')
    const [, , entry] = two.state.log.slice(1, 4, Number.POSITIVE_INFINITY) ?? []
    expect(entry?.type).toBe('normal')
  })

  it('a voter that does not exist does not stop a group of three', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('add-voter 9'))
    group.settle()
    leader.raft.propose([bytes('x')])
    group.settle()
    expect(group.at(3).appliedTexts).toContain('x')
  })

  it('members that never answer can be taken out again', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('add-learner 8, add-learner 9'))
    group.settle()
    leader.raft.proposeConfigChange(changeOf('remove 8, remove 9'))
    group.settle()
    expect(leader.raft.configState).toEqual(configOf([1, 2, 3]))
  })
})

describe('liveness', () => {
  it('pre-votes do not block each other: when all lose the leader at once, one is elected', () => {
    const group = Group.of(5)
    group.elect(5)
    group.isolate(5)
    group.tick(3 * RAFT_DEFAULTS.electionTicks)
    expect(group.leaders.filter((id) => id !== 5)).toHaveLength(1)
  })

  it('a candidate of a later term gets into a group that has forgotten it', () => {
    const members = configOf([1, 2, 3])
    const group = new Group([
      { id: 1, members, terms: [1], term: 9 },
      { id: 2, members, terms: [1, 1], term: 1 },
      { id: 3, members, terms: [1, 1], term: 1 }
    ])
    group.isolate(1)
    group.elect(2)
    group.heal()
    group.tick(4 * RAFT_DEFAULTS.electionTicks)
    expect(group.leaders).toHaveLength(1)
    expect(group.at(1).state.leader).toBe(group.leaders[0])
  })

  it('partial connectivity: a leader that reaches a majority stays, whoever else complains', () => {
    // Cloudflare, 2020: 1 and 3 don't hear each other, 2 hears both.
    const group = Group.of(3)
    group.elect(1)
    group.split([1], [3])
    for (let n = 0; n < 100; n++) {
      group.tick()
      expect(group.leaders).toEqual([1])
    }
  })

  it('partial connectivity: a leader that reaches nobody makes room for one that does', () => {
    const group = Group.of(5)
    group.elect(1)
    // Only 2 reaches all the others.
    group.split([1], [3, 4, 5])
    group.split([3], [4, 5])
    group.split([4], [5])
    group.tick(8 * RAFT_DEFAULTS.electionTicks)
    expect(group.leaders).toContain(2)
    group.at(2).raft.propose([bytes('x')])
    group.tick(2)
    expect(group.at(5).appliedTexts).toContain('x')
  })

  it('a follower whose window was lost is served again after a heartbeat', () => {
    const group = Group.of(3, { inflightCountMax: 2 })
    const leader = group.elect(1)
    group.isolate(3)
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      leader.raft.propose([bytes(name)])
      group.settle()
    }
    group.heal()
    group.tick(3)
    expect(group.at(3).appliedTexts).toEqual(['', 'a', 'b', 'c', 'd', 'e'])
  })

  it('a failed snapshot is sent again after a heartbeat', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    group.isolate(3)
    leader.raft.propose([bytes('a')])
    group.settle()
    const last = leader.applied.at(-1) as { index: number; term: number }
    const { configState } = leader
    leader.storage.setSnapshot({ ...last, configState, data: bytes('s') })
    leader.storage.compact(last.index)
    group.heal()
    leader.tick()
    group.network.push(...leader.drain().filter(({ to }) => to === 3))
    const lost: Message[] = []
    for (let n = 0; n < 5 && lost.length === 0; n++) {
      for (const message of group.network.splice(0)) group.at(message.to).raft.step(message)
      for (const answer of group.at(3).drain()) leader.raft.step(answer)
      for (const message of leader.drain()) {
        if (message.type === 'snapshot') lost.push(message)
        else if (message.to === 3) group.network.push(message)
      }
    }
    expect(lost).toHaveLength(1)
    group.tick(3)
    expect(leader.state.progressOf(3)?.state).toBe('snapshot')
    leader.raft.reportSnapshot(3, false)
    group.tick(3)
    expect(group.at(3).state.log.lastIndex).toBe(leader.state.log.lastIndex)
  })

  it('a member that needs a snapshot is sent none of the entries that do not follow its log', () => {
    const configState = configOf([1, 2, 3])
    const one = replica({ snapshot: { index: 9, term: 2, configState, data: bytes('') }, term: 2 })
    one.lead()
    const reject = { type: 'append-response', from: 2, term: 3, reject: true } as const
    one.step({ ...reject, index: 9, rejectHint: 0 })
    expect(one.state.progressOf(2)?.state).toBe('snapshot')
    one.drain()
    one.step({ type: 'append-response', from: 2, term: 3, index: 4 })
    expect([one.state.progressOf(2)?.state, one.drain()]).toEqual(['snapshot', []])
    one.step({ type: 'append-response', from: 2, term: 3, index: 9 })
    expect(one.state.progressOf(2)?.state).toBe('replicate')
  })

  it('an old refusal does not move a member back', () => {
    const one = replica({ terms: [1, 1, 1, 1, 1], term: 1, config: PLAIN })
    one.lead()
    one.drain()
    const reject = { type: 'append-response', from: 2, term: 2, reject: true } as const
    one.step({ ...reject, index: 5, rejectHint: 3, logTerm: 1 })
    expect(one.state.progressOf(2)?.next).toBe(4)
    one.step({ ...reject, index: 5, rejectHint: 1, logTerm: 1 })
    expect(one.state.progressOf(2)?.next).toBe(4)
    one.step({ type: 'append-response', from: 2, term: 2, index: 3 })
    one.step({ ...reject, index: 2, rejectHint: 0 })
    expect(one.state.progressOf(2)).toMatchObject({ state: 'replicate', match: 3 })
  })

  it('a refusal never moves a member below what it has', () => {
    const one = replica({ terms: [1, 1, 1, 1, 1], term: 1, config: PLAIN })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 2, index: 5 })
    one.raft.reportUnreachable(2)
    one.drain()
    const reject = { type: 'append-response', from: 2, term: 2, reject: true } as const
    one.step({ ...reject, index: 5, rejectHint: 1, logTerm: 1 })
    expect(one.state.progressOf(2)).toMatchObject({ state: 'probe', match: 5, next: 6 })
  })

  it('a transfer orders no election before the target has everything', () => {
    const one = replica()
    one.lead()
    one.raft.propose([bytes('a')])
    one.raft.transferLeader(2)
    one.drain()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    expect(one.drain().map(({ type }) => type)).not.toContain('timeout-now')
    one.step({ type: 'append-response', from: 2, term: 1, index: 2 })
    expect(one.drain().map(({ type }) => type)).toContain('timeout-now')
  })

  it('a transfer to one that dies does not stop the group', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    group.isolate(2)
    leader.raft.transferLeader(2)
    group.tick(RAFT_DEFAULTS.electionTicks)
    leader.raft.propose([bytes('x')])
    group.settle()
    expect(group.at(3).appliedTexts).toContain('x')
  })
})

describe('reads', () => {
  it('a retried read is not confirmed by what was asked for the first one', () => {
    const one = replica({ config: PLAIN })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.drain()
    one.raft.readIndex(bytes('r'))
    const [first] = one.drain()
    one.raft.readIndex(bytes('r'))
    one.drain()
    const readSequence = first?.readSequence ?? 0
    one.step({ type: 'heartbeat-response', from: 2, term: 1, readSequence })
    one.drain()
    expect(one.reads).toEqual(['r'])
  })

  it('a confirmation of a read that was never asked is refused', () => {
    const one = replica()
    one.lead()
    one.drain()
    const answer = { type: 'heartbeat-response', from: 2, term: 1, readSequence: 5 } as const
    expect(one.step(answer)).toMatchObject({ refusal: 'impossible' })
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.raft.readIndex(bytes('r'))
    one.drain()
    expect(one.reads).toEqual([])
  })

  it('an answer to a heartbeat of an earlier term confirms nothing', () => {
    const one = replica({ config: PLAIN })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.raft.readIndex(bytes('r'))
    one.drain()
    one.step({ type: 'vote', from: 3, term: 2, index: 1, logTerm: 1 })
    one.drain()
    one.lead()
    one.step({ type: 'heartbeat-response', from: 2, term: 1, readSequence: 1 })
    one.drain()
    expect(one.reads).toEqual([])
  })

  it('a read that its leader could not confirm is not confirmed when it leads again', () => {
    const one = replica({ config: PLAIN })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.raft.readIndex(bytes('r'))
    one.drain()
    one.step({ type: 'append', from: 3, term: 2, index: 1, logTerm: 1 })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 3, index: 2 })
    one.tick()
    for (const { to, readSequence } of one.drain().filter(({ type }) => type === 'heartbeat')) {
      one.step({ type: 'heartbeat-response', from: to, term: 3, readSequence })
    }
    one.drain()
    expect(one.reads).toEqual([])
  })

  it('where leaders read by their lease nobody forgets them', () => {
    const one = replica({ config: { readMode: 'lease' } })
    one.step({ type: 'heartbeat', from: 2, term: 1 })
    one.raft.forgetLeader()
    expect(one.state.leader).toBe(2)
    const other = replica()
    other.step({ type: 'heartbeat', from: 2, term: 1 })
    other.raft.forgetLeader()
    expect(other.state.leader).toBe(0)
  })

  it('lease reads need the quorum check, and are off unless asked for', () => {
    expect(RAFT_DEFAULTS.readMode).toBe('safe')
    expect(() => replica({ config: { readMode: 'lease', checkQuorum: false } })).toThrow(
      /readMode is lease; accepted is "safe" unless checkQuorum is on/
    )
  })
})

describe('proposals', () => {
  it('a forwarded proposal goes round in no circle', () => {
    const group = Group.of(3)
    group.elect(1)
    group.at(3).raft.propose([bytes('x')])
    const [forwarded] = group.at(3).drain()
    group.handOver(2)
    group.network.push(forwarded as Message)
    group.settle()
    for (const one of group.replicas.values()) {
      expect(one.appliedTexts.filter((text) => text === 'x')).toHaveLength(1)
    }
  })

  it('with forwarding off the caller learns it', () => {
    const group = Group.of(3, { forwardProposals: false })
    group.elect(1)
    expect(group.at(2).raft.propose([bytes('x')])).toMatchObject({ refusal: 'proposal-dropped' })
  })

  it('a leader that is no member any more takes no proposals', () => {
    const group = new Group(
      [1, 2, 3].map((id) => ({
        id,
        members: configOf([1, 2, 3]),
        config: { stepDownOnRemoval: false }
      }))
    )
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('remove 1'))
    group.settle()
    expect(leader.state.role).toBe('leader')
    expect(leader.raft.propose([bytes('x')])).toMatchObject({ refusal: 'proposal-dropped' })
  })
})

it('a driver that breaks the contract is told at once', () => {
  const one = new Replica({ id: 1, members: configOf([1]) })
  expect(() => one.raft.advance()).toThrow(/advance follows a Ready/)
  one.raft.campaign()
  one.raft.take()
  expect(() => one.raft.take()).toThrow(/done with before the next one/)
})
