// What the dissertation adds to the paper: "Consensus: Bridging Theory and Practice", Ongaro, 2014;
// §3.10, §4, §6.4, §9.6 and §10.2.

import { describe, expect, it } from 'vitest'
import { Group, Replica, bytes, changeOf, configOf, replica } from './group.ts'

const NO_LEASE = { preVote: false, checkQuorum: false } as const

describe('§3.10 leadership transfer', () => {
  it('a target that is up to date takes over at once', () => {
    const group = Group.of(3)
    group.elect(1).raft.transferLeader(2)
    group.settle()
    expect([group.leaders, group.at(2).state.term]).toEqual([[2], 2])
  })

  it('a target that lags is brought up to date first', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    group.isolate(3)
    leader.raft.propose([bytes('x')])
    group.settle()
    group.heal()
    leader.raft.transferLeader(3)
    group.settle()
    group.tick()
    expect(group.leaders).toEqual([3])
    expect(group.at(3).appliedTexts).toContain('x')
  })

  it('a follower passes the wish on to its leader', () => {
    const group = Group.of(3)
    group.elect(1)
    group.at(3).raft.transferLeader(2)
    group.settle()
    expect(group.leaders).toEqual([2])
  })

  it('meanwhile the leader takes no proposals; after an election timeout it leads on', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    group.isolate(3)
    leader.raft.transferLeader(3)
    group.settle()
    expect(leader.raft.propose([bytes('x')])).toMatchObject({ refusal: 'proposal-dropped' })
    group.tick(leader.state.config.electionTicks - 1)
    expect(leader.raft.propose([bytes('x')])).toMatchObject({ refusal: 'proposal-dropped' })
    group.tick()
    expect(leader.raft.propose([bytes('x')])).toBeUndefined()
    group.settle()
    expect(group.at(2).appliedTexts).toContain('x')
  })

  it('another wish replaces the one before', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    group.isolate(3)
    leader.raft.transferLeader(3)
    leader.raft.transferLeader(2)
    group.settle()
    expect(group.leaders).toEqual([2])
  })

  for (const [what, to] of [
    ['a learner', 4],
    ['nobody it knows', 9],
    ['itself', 1]
  ] as const) {
    it(`a leader does not hand over to ${what}`, () => {
      const members = configOf([1, 2, 3], { learners: [4] })
      const group = new Group([1, 2, 3, 4].map((id) => ({ id, members })))
      const leader = group.elect(1)
      leader.raft.transferLeader(to)
      expect(leader.state.transferTo).toBe(0)
      expect(leader.raft.propose([bytes('x')])).toBeUndefined()
      group.settle()
      expect(group.leaders).toEqual([1])
    })
  }

  it('a transfer is not held up by the lease of the leader that ordered it', () => {
    const group = Group.of(3, { checkQuorum: true, preVote: true })
    group.elect(1)
    group.tick(2)
    group.at(1).raft.transferLeader(3)
    group.settle()
    expect(group.leaders).toEqual([3])
  })

  it('only the leader may order an election', () => {
    const one = replica({ term: 1 })
    one.step({ type: 'heartbeat', from: 2, term: 1 })
    one.drain()
    expect(one.step({ type: 'timeout-now', from: 3, term: 1 })).toMatchObject({
      refusal: 'impossible'
    })
    expect(one.state).toMatchObject({ role: 'follower', term: 1 })
  })
})

describe('§4.1 and §4.2 single-server changes', () => {
  it('a voter is added and a voter is removed', () => {
    const group = Group.of(3)
    group.replicas.set(4, new Replica({ id: 4, members: configOf([1, 2, 3]) }))
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('add-voter 4'))
    group.settle()
    group.tick(2)
    for (const one of group.replicas.values()) {
      expect(one.raft.configState).toEqual(configOf([1, 2, 3, 4]))
    }
    leader.raft.proposeConfigChange(changeOf('remove 2'))
    group.settle()
    expect(group.at(4).raft.configState).toEqual(configOf([1, 3, 4]))
  })

  it('R-8 a change waits until the one before it is applied', () => {
    const one = replica()
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.drain()
    one.raft.proposeConfigChange(changeOf('add-learner 4'))
    one.raft.proposeConfigChange(changeOf('add-learner 5'))
    one.step({ type: 'append-response', from: 2, term: 1, index: 3 })
    one.drain()
    one.step({ type: 'append-response', from: 2, term: 1, index: 3 })
    one.drain()
    expect(one.applied.map(({ type }) => type)).toEqual(['normal', 'config-change', 'normal'])
    expect(one.raft.configState).toEqual(configOf([1, 2, 3], { learners: [4] }))
  })

  it('no two changes in one proposal', () => {
    const one = replica({ members: configOf([1]) })
    one.lead()
    one.drain()
    const change = (id: number): object => ({
      type: 'config-change',
      term: 0,
      index: 0,
      change: changeOf(`add-learner ${id}`)
    })
    one.step({ type: 'propose', from: 2, entries: [change(4), change(5)] as never })
    one.drain()
    expect(one.raft.configState.learners).toEqual([4])
  })

  it("R-8 a new leader makes none before the end of its predecessor's log is applied", () => {
    const one = replica({ terms: [1, 1], term: 1 })
    one.lead()
    one.raft.proposeConfigChange(changeOf('remove 3'))
    const refused = one.events.find(({ type }) => type === 'config-change-refused')
    expect(refused).toMatchObject({ reason: 'unapplied', pendingIndex: 2, applied: 0 })
  })

  it('§4.2.1 a learner has no vote and counts for no majority', () => {
    const members = configOf([1, 2, 3], { learners: [4, 5] })
    const one = replica({ members, config: NO_LEASE })
    one.raft.campaign()
    const asked = one.drain().map(({ to }) => to)
    expect(asked).toEqual([2, 3])
    one.step({ type: 'vote-response', from: 4, term: 1 })
    one.step({ type: 'vote-response', from: 5, term: 1 })
    expect(one.state.role).toBe('candidate')
    one.step({ type: 'vote-response', from: 2, term: 1 })
    one.drain()
    one.step({ type: 'append-response', from: 4, term: 1, index: 1 })
    one.step({ type: 'append-response', from: 5, term: 1, index: 1 })
    expect(one.state.log.committed).toBe(0)
    one.step({ type: 'append-response', from: 3, term: 1, index: 1 })
    expect(one.state.log.committed).toBe(1)
  })

  it('§4.2.1 a learner does not campaign, however long it waits', () => {
    const one = replica({ id: 4, members: configOf([1, 2, 3], { learners: [4] }) })
    one.tick(100)
    one.raft.campaign()
    expect(one.state).toMatchObject({ role: 'follower', term: 0 })
    expect(one.drain()).toEqual([])
  })

  it('§4.2.2 a leader that is removed leads until that is committed, then steps down', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('remove 1'))
    leader.raft.propose([bytes('x')])
    group.settle()
    expect(leader.state.role).toBe('follower')
    expect(leader.appliedTexts).toEqual(['', '(change)', 'x'])
    group.tick(2 * leader.state.config.electionTicks)
    expect(group.leaders).toHaveLength(1)
    expect(group.leaders).not.toContain(1)
    expect(group.at(3).appliedTexts.slice(0, 3)).toEqual(['', '(change)', 'x'])
  })

  it('§4.2.3 a server that was removed and does not know it disturbs nobody', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    group.isolate(3)
    leader.raft.proposeConfigChange(changeOf('remove 3'))
    group.settle()
    group.heal()
    for (let n = 0; n < 100; n++) {
      group.tick()
      expect([group.leaders, leader.state.term]).toEqual([[1], 1])
    }
  })
})

describe('§4.3 joint consensus', () => {
  it('several members change at once, and the joint configuration leaves itself', () => {
    const group = Group.of(3)
    for (const id of [4, 5, 6]) {
      group.replicas.set(id, new Replica({ id, members: configOf([1, 2, 3]) }))
    }
    const leader = group.elect(1)
    const change = 'add-voter 4, add-voter 5, add-voter 6, remove 2, remove 3'
    leader.raft.proposeConfigChange(changeOf(change))
    group.settle()
    group.tick(3)
    for (const id of [1, 4, 5, 6]) {
      expect(group.at(id).raft.configState).toEqual(configOf([1, 4, 5, 6]))
    }
  })

  it('an explicit one is left only by a change without steps', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('remove 3, add-learner 3', 'explicit'))
    group.settle()
    group.tick(20)
    const joint = configOf([1, 2], { votersOutgoing: [1, 2, 3], learnersNext: [3] })
    expect(leader.raft.configState).toEqual(joint)
    leader.raft.proposeConfigChange(changeOf('remove 2'))
    group.settle()
    expect(leader.raft.configState).toEqual(joint)
    expect(leader.events).toContainEqual(
      expect.objectContaining({ type: 'config-change-refused', reason: 'joint' })
    )
    leader.raft.proposeConfigChange(changeOf(''))
    group.settle()
    expect(group.at(2).raft.configState).toEqual(configOf([1, 2], { learners: [3] }))
  })

  it('a leader that a transfer kept from leaving tries again when that was given up', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('add-learner 4', 'implicit'))
    group.isolate(3)
    leader.raft.transferLeader(3)
    group.settle()
    expect(leader.raft.configState.autoLeave).toBe(true)
    group.tick(leader.state.config.electionTicks)
    expect(leader.raft.configState).toEqual(configOf([1, 2, 3], { learners: [4] }))
  })

  it('a new leader leaves the joint configuration of its predecessor', () => {
    const members = configOf([1, 2], { votersOutgoing: [1, 2, 3], autoLeave: true })
    const group = new Group([1, 2, 3].map((id) => ({ id, members })))
    const leader = group.elect(2)
    expect(leader.raft.configState).toEqual(configOf([1, 2]))
    expect(leader.applied.map(({ type }) => type)).toEqual(['normal', 'config-change'])
  })
})

it('§4.3 leaving is proposed once, when all before it is applied', () => {
  const members = configOf([1, 2], { votersOutgoing: [1, 2, 3], autoLeave: true })
  const one = replica({ members, terms: [1, 1, 1], term: 1, commit: 1 })
  one.lead()
  one.step({ type: 'append-response', from: 2, term: 2, index: 2 })
  one.drain()
  expect(one.log).toBe('1/1 1/2 1/3 2/4')
  one.step({ type: 'append-response', from: 2, term: 2, index: 4 })
  one.drain()
  expect(one.log).toBe('1/1 1/2 1/3 2/4 2/5')
})

describe('§6.4 reads without log entries', () => {
  it('R-7 a leader asks a majority before it answers, and answers with its commit index', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    leader.raft.readIndex(bytes('r'))
    const asked = leader.drain()
    expect([asked.map(({ type, to }) => [type, to]), leader.reads]).toEqual([
      [
        ['heartbeat', 2],
        ['heartbeat', 3]
      ],
      []
    ])
    group.network.push(...asked)
    group.settle()
    expect([leader.reads, leader.readIndexes]).toEqual([['r'], [1]])
  })

  it('a leader that lost its majority does not answer', () => {
    const group = Group.of(3, NO_LEASE)
    const leader = group.elect(1)
    group.isolate(1)
    leader.raft.readIndex(bytes('r'))
    group.settle()
    group.tick(5)
    expect(leader.reads).toEqual([])
    group.elect(2)
    group.heal()
    group.tick(3)
    expect([leader.state.role, leader.reads]).toEqual(['follower', []])
  })

  it('R-7 a leader waits for the first commit of its term', () => {
    const one = replica({ terms: [1, 1], term: 1, commit: 1 })
    one.lead()
    one.raft.readIndex(bytes('r'))
    one.drain()
    one.step({ type: 'heartbeat-response', from: 2, term: 2, readSequence: 0 })
    one.drain()
    expect(one.reads).toEqual([])
    one.step({ type: 'append-response', from: 2, term: 2, index: 3 })
    const [heartbeat] = one.drain().filter(({ type }) => type === 'heartbeat')
    one.step({
      type: 'heartbeat-response',
      from: 2,
      term: 2,
      readSequence: heartbeat?.readSequence ?? 0
    })
    one.drain()
    expect([one.reads, one.readIndexes]).toEqual([['r'], [3]])
  })

  it('a leader alone waits for it too: what it has may be further than it knows', () => {
    const one = replica({ members: configOf([1]), terms: [1, 1], term: 1, commit: 1 })
    one.raft.campaign()
    while (one.state.role !== 'leader') one.process()
    expect(one.state.log.committed).toBe(1)
    expect(one.raft.readIndex(bytes('r'))).toBeUndefined()
    expect(one.process().readStates).toEqual([])
    one.drain()
    expect([one.reads, one.readIndexes]).toEqual([['r'], [3]])
  })

  it('many reads share one round of heartbeats', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    const names = Array.from({ length: 100 }, (_, index) => `r${index}`)
    for (const name of names) leader.raft.readIndex(bytes(name))
    const asked = leader.drain()
    expect(asked.length).toBe(2)
    group.network.push(...asked)
    group.settle()
    expect(leader.reads).toEqual(names)
  })

  it('§6.4.1 a follower asks its leader and answers when it has caught up', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    leader.raft.propose([bytes('x')])
    group.settle()
    group.at(3).raft.readIndex(bytes('r'))
    group.settle()
    expect([group.at(3).reads, group.at(3).readIndexes]).toEqual([['r'], [2]])
    expect(leader.reads).toEqual([])
  })

  it('a read without a leader is dropped, and the caller knows', () => {
    expect(replica().raft.readIndex(bytes('r'))).toMatchObject({ refusal: 'no-leader' })
  })

  it('too many reads are refused', () => {
    const one = replica({ config: { pendingReadsMax: 2 } })
    one.lead()
    expect(one.raft.readIndex(bytes('a'))).toBeUndefined()
    expect(one.raft.readIndex(bytes('b'))).toBeUndefined()
    expect(one.raft.readIndex(bytes('c'))).toMatchObject({ refusal: 'overloaded' })
  })

  it('reads go on when the members that should confirm them are gone', () => {
    const group = Group.of(2)
    const leader = group.elect(1)
    leader.raft.proposeConfigChange(changeOf('remove 2'))
    group.settle()
    leader.raft.readIndex(bytes('r'))
    group.settle()
    expect(leader.reads).toEqual(['r'])
  })

  it('a read that waits for a member which is removed meanwhile is answered', () => {
    const one = replica({ members: configOf([1, 2]) })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.raft.proposeConfigChange(changeOf('remove 2'))
    one.drain()
    one.raft.readIndex(bytes('r'))
    one.drain()
    expect(one.reads).toEqual([])
    one.step({ type: 'append-response', from: 2, term: 1, index: 2 })
    one.drain()
    expect([one.raft.configState.voters, one.reads]).toEqual([[1], ['r']])
  })

  it('§6.4.1 by its lease a leader answers at once', () => {
    const one = replica({ config: { readMode: 'lease' } })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.drain()
    one.raft.readIndex(bytes('r'))
    one.drain()
    expect(one.reads).toEqual(['r'])
  })
})

describe('§6.2 a leader without a majority steps down', () => {
  it('within an election timeout or two', () => {
    const group = Group.of(3)
    const leader = group.elect(1)
    group.isolate(1)
    group.tick(2 * leader.state.config.electionTicks)
    expect(leader.state).toMatchObject({ role: 'follower', leader: 0 })
  })

  it('learners do not keep it', () => {
    const members = configOf([1, 2, 3], { learners: [4, 5] })
    const group = new Group([1, 2, 3, 4, 5].map((id) => ({ id, members })))
    const leader = group.elect(1)
    group.split([1, 4, 5], [2, 3])
    group.tick(2 * leader.state.config.electionTicks)
    expect(leader.state.role).toBe('follower')
  })
})

describe('§9.6 pre-vote', () => {
  it('a replica that was cut off does not raise its term, and does not disturb when it is back', () => {
    const group = Group.of(3)
    group.elect(1)
    group.isolate(3)
    group.tick(100)
    expect(group.at(3).state.term).toBe(1)
    group.heal()
    group.tick(5)
    expect([group.leaders, group.at(1).state.term]).toEqual([[1], 1])
    expect(group.at(3).state).toMatchObject({ role: 'follower', leader: 1 })
  })

  it('a trial changes neither term nor vote, of nobody', () => {
    const one = replica({ term: 3, vote: 2 })
    one.raft.campaign()
    expect(one.state).toMatchObject({ role: 'pre-candidate', term: 3, vote: 2 })
    const other = replica({ id: 2, term: 3, vote: 2 })
    other.step({ type: 'pre-vote', from: 1, term: 4 })
    expect(other.state).toMatchObject({ term: 3, vote: 2 })
    expect(other.drain()).toMatchObject([{ type: 'pre-vote-response', term: 4, reject: false }])
  })

  it('whoever hears a leader refuses by silence; whoever has more refuses aloud', () => {
    const hearing = replica({ id: 2 })
    hearing.step({ type: 'heartbeat', from: 3, term: 1 })
    hearing.drain()
    hearing.step({ type: 'pre-vote', from: 1, term: 2 })
    expect(hearing.drain()).toEqual([])
    const ahead = replica({ id: 2, terms: [1, 1] })
    ahead.step({ type: 'pre-vote', from: 1, term: 2, index: 1, logTerm: 1 })
    expect(ahead.drain()).toMatchObject([{ type: 'pre-vote-response', term: 1, reject: true }])
  })

  it('a trial of an earlier term is refused aloud, so that its candidate learns the term', () => {
    const one = replica({ term: 5 })
    one.step({ type: 'pre-vote', from: 2, term: 3, index: 9, logTerm: 2 })
    expect(one.drain()).toMatchObject([{ type: 'pre-vote-response', term: 5, reject: true }])
    const candidate = replica({ id: 2, term: 2 })
    candidate.raft.campaign()
    candidate.step({ type: 'pre-vote-response', from: 1, term: 5, reject: true })
    expect(candidate.state).toMatchObject({ role: 'follower', term: 5 })
  })

  it('a won trial becomes an election at once', () => {
    const one = replica()
    one.raft.campaign()
    one.drain()
    one.step({ type: 'pre-vote-response', from: 2, term: 1 })
    expect(one.state).toMatchObject({ role: 'candidate', term: 1, vote: 1 })
  })
})

describe('§10.2 writing and sending at the same time', () => {
  it('appends follow each other without waiting, as many as the window holds', () => {
    const one = replica({ config: { inflightCountMax: 3 } })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.drain()
    const sent = Array.from({ length: 6 }, () => {
      one.raft.propose([bytes('x')])
      return one.drain().filter(({ to, entries }) => to === 2 && entries.length > 0).length
    })
    expect(sent).toEqual([1, 1, 1, 0, 0, 0])
    one.step({ type: 'append-response', from: 2, term: 1, index: 3 })
    const next = one.drain().filter(({ to, entries }) => to === 2 && entries.length > 0)
    expect(next.map(({ entries }) => entries.map(({ index }) => index))).toEqual([[5, 6, 7]])
  })

  it('and as many bytes', () => {
    const one = replica({ config: { inflightBytesMax: 2_000, appendBytesMax: 1_100 } })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.drain()
    for (let n = 0; n < 6; n++) one.raft.propose([new Uint8Array(1_000)])
    const sent = one.drain().filter(({ to, entries }) => to === 2 && entries.length > 0)
    expect(sent.length).toBe(2)
    one.step({ type: 'append-response', from: 2, term: 1, index: 2 })
    const next = one.drain().filter(({ to, entries }) => to === 2 && entries.length > 0)
    expect(next.map(({ entries }) => entries.map(({ index }) => index))).toEqual([[4]])
  })

  it('a message carries no more than its limit, and always one entry', () => {
    const one = replica({ config: { appendBytesMax: 100 } })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.drain()
    one.raft.propose([10, 10, 10, 500, 10].map((size) => new Uint8Array(size)))
    const sizes = (): number[] =>
      one
        .drain()
        .filter(({ to, entries }) => to === 2 && entries.length > 0)
        .map(({ entries }) => entries.length)
    expect(sizes()).toEqual([2])
    one.step({ type: 'append-response', from: 2, term: 1, index: 3 })
    expect(sizes()).toEqual([1, 1, 1])
  })

  it('proposals beyond what may wait are refused; what was committed makes room', () => {
    const one = replica({ config: { uncommittedBytesMax: 100 } })
    one.lead()
    one.step({ type: 'append-response', from: 2, term: 1, index: 1 })
    one.drain()
    expect(one.raft.propose([new Uint8Array(500)])).toBeUndefined()
    expect(one.raft.propose([new Uint8Array(1)])).toMatchObject({ refusal: 'proposal-dropped' })
    expect(one.raft.propose([new Uint8Array(0)])).toBeUndefined()
    one.drain()
    one.step({ type: 'append-response', from: 2, term: 1, index: 3 })
    one.drain()
    expect(one.raft.propose([new Uint8Array(1)])).toBeUndefined()
  })
})

describe('losing the connection to the leader', () => {
  it('its followers elect another without waiting for their timeout', () => {
    const group = Group.of(5)
    group.elect(3)
    group.tick(3)
    group.isolate(3)
    for (const id of [1, 2, 4, 5]) group.at(id).raft.connectionLost(3)
    group.settle()
    group.tick(4)
    expect(group.leaders).toContain(1)
    expect(group.at(1).state.term).toBe(2)
  })

  it('works too when the first in turn is behind, or the last one notices late', () => {
    const group = Group.of(3)
    const leader = group.elect(3)
    group.isolate(1)
    leader.raft.propose([bytes('x')])
    group.settle()
    group.heal()
    group.isolate(3)
    group.at(1).raft.connectionLost(3)
    group.settle()
    group.at(2).raft.connectionLost(3)
    group.tick(2)
    expect(group.leaders).toContain(2)
  })

  it('a replica that alone lost it disturbs nobody', () => {
    const group = Group.of(3)
    group.elect(3)
    group.at(1).raft.connectionLost(3)
    group.settle()
    group.tick(2)
    expect([group.leaders, group.at(3).state.term]).toEqual([[3], 1])
    expect(group.at(1).state).toMatchObject({ role: 'follower', leader: 3 })
  })

  it('is nothing to those who follow another', () => {
    const group = Group.of(3)
    group.elect(3)
    group.at(1).raft.connectionLost(2)
    expect(group.at(1).state).toMatchObject({ role: 'follower', leader: 3 })
  })
})

describe('§10.2 the commit index told late', () => {
  const late = { tellsCommitLate: true } as const
  const followers = (group: Group): string[][] => [
    group.at(2).appliedTexts,
    group.at(3).appliedTexts
  ]

  it('waits for the next entries', () => {
    const group = Group.of(3, late)
    const leader = group.elect(1)
    leader.raft.propose([bytes('x')])
    group.settle()
    expect(leader.appliedTexts).toEqual(['', 'x'])
    expect([leader.raft.isCommitUntold, ...followers(group)]).toEqual([true, [''], ['']])
    leader.raft.propose([bytes('y')])
    group.settle()
    expect(followers(group)).toEqual([
      ['', 'x'],
      ['', 'x']
    ])
  })

  it('goes to those that lack it when the driver says so, and to nobody twice', () => {
    const group = Group.of(3, late)
    const leader = group.elect(1)
    leader.raft.propose([bytes('x')])
    group.settle()
    leader.raft.tellCommit()
    expect(leader.raft.isCommitUntold).toBe(false)
    group.settle()
    expect(followers(group)).toEqual([
      ['', 'x'],
      ['', 'x']
    ])
    leader.raft.tellCommit()
    expect(leader.drain()).toEqual([])
  })

  it('goes with heartbeats where the driver forgets it', () => {
    const group = Group.of(3, late)
    group.elect(1).raft.propose([bytes('x')])
    group.settle()
    group.tick()
    group.settle()
    expect(followers(group)).toEqual([
      ['', 'x'],
      ['', 'x']
    ])
  })

  it('does not hold up a read of a follower, nor a change of members', () => {
    const group = Group.of(3, late)
    const leader = group.elect(1)
    leader.raft.propose([bytes('x')])
    group.settle()
    group.at(3).raft.readIndex(bytes('read'))
    group.settle()
    expect(group.at(3).appliedTexts).toEqual(['', 'x'])
    leader.raft.proposeConfigChange(changeOf('add-learner 4'))
    group.settle()
    expect(group.at(2).configState.learners).toEqual([4])
  })
})
