import { describe, expect, it } from 'vitest'
import {
  LEARNERS_MAX,
  READY_COMMIT_LAG_ENTRIES,
  READY_LAG_ENTRIES,
  nextStep
} from '../../../src/core/groups/next-step.ts'
import { decodeChangeContext } from '../../../src/core/groups/roster-codec.ts'
import { inWords, membersOf, viewOf } from './view.ts'
import type { ViewInWords } from './view.ts'

const step = (words: ViewInWords): string => inWords(nextStep(viewOf(words)))

describe('nextStep() does nothing', () => {
  const moving = { voters: '1a', desired: 'a b' }

  it('when the members are those of the layout', () => {
    expect(step({ voters: '1a 2b 3c', desired: 'c a b' })).toBe('nothing')
  })

  it('without owners', () => {
    expect(step({ ...moving, desired: '' })).toBe('nothing')
  })

  it('while a change is pending', () => {
    expect(step(moving)).toBe('add-learner 2')
    expect(step({ ...moving, isChangePending: true })).toBe('nothing')
  })

  it('while joint', () => {
    const config = {
      voters: [1, 3],
      votersOutgoing: [1, 2],
      learners: [],
      learnersNext: [2],
      autoLeave: true
    }
    expect(step({ voters: '1a 2b 3c', desired: 'a c d', config })).toBe('nothing')
  })

  it('by a layout that is older than the last one applied', () => {
    expect(step({ ...moving, layoutVersion: 6 })).toBe('nothing')
    expect(step({ ...moving, layoutVersion: 8 })).toBe('add-learner 2')
  })

  it('when no quorum of the voters answers', () => {
    expect(step({ voters: '1a 2b 3c', desired: 'a b d', away: 'b c' })).toBe('nothing')
    expect(step({ voters: '1a 2b', desired: 'a', away: 'b' })).toBe('nothing')
  })

  it('right after a check of the quorum, when nobody has been heard', () => {
    const progress = { 2: { isActive: false }, 3: { isActive: false } }
    expect(step({ voters: '1a 2b 3c', desired: 'a b d', progress })).toBe('nothing')
  })

  it('as a leader that is no voter', () => {
    const words = { self: 9, voters: '1a 2b 3c', learners: '9d', desired: 'a b c' }
    expect(step(words)).toBe('nothing')
  })
})

describe('nextStep() adds learners', () => {
  it('with a context that says where the new replica is', () => {
    const next = nextStep(viewOf({ voters: '1a', desired: 'a b2', layoutVersion: 9 }))
    if (next.kind !== 'change') throw new Error('It is no change')
    expect(next.why).toBe('add-learner')
    expect(next.change.transition).toBe('auto')
    expect(decodeChangeContext(next.change.context)).toEqual({
      layoutVersion: 9,
      generation: 0,
      added: membersOf('2b2')
    })
  })

  it('with ids that were never used', () => {
    expect(step({ voters: '1a', desired: 'a b', roster: { nextReplica: 12 } })).toBe(
      'add-learner 12'
    )
  })

  it('one in each change, a few at one time', () => {
    expect(LEARNERS_MAX).toBe(2)
    const behind = { match: 1 }
    const progress = { 2: behind, 3: behind }
    const desired = 'a b c d'
    expect(step({ voters: '1a', learners: '2b', desired, progress })).toBe('add-learner 3')
    expect(step({ voters: '1a', learners: '2b 3c', desired, progress })).toBe('nothing')
  })

  it('and one that is away keeps no other from coming', () => {
    const words = { voters: '1a', learners: '2b 3c', desired: 'a b c d', away: 'b' }
    expect(step({ ...words, progress: { 3: { match: 1 } } })).toBe('add-learner 4')
  })

  it('where the peer is reachable', () => {
    expect(step({ voters: '1a', desired: 'a b c', away: 'b' })).toBe('add-learner 2')
    const next = nextStep(viewOf({ voters: '1a', desired: 'a b c', away: 'b' }))
    if (next.kind !== 'change') throw new Error('It is no change')
    expect(decodeChangeContext(next.change.context).added).toEqual(membersOf('2c'))
    expect(step({ voters: '1a', desired: 'a b', away: 'b' })).toBe('nothing')
  })

  it('when this node may', () => {
    expect(step({ voters: '1a', desired: 'a b', mayAddLearner: false })).toBe('nothing')
  })
})

describe('nextStep() promotes a learner', () => {
  const growing = { voters: '1a', learners: '2b', desired: 'a b' }

  it('that has caught up', () => {
    expect(step(growing)).toBe('add-voter 2')
  })

  it('not before it was heard, however short the log', () => {
    expect(step({ ...growing, lastIndex: 3, progress: { 2: { match: 0 } } })).toBe('nothing')
    expect(step({ ...growing, lastIndex: 3, progress: { 2: { match: 2 } } })).toBe('add-voter 2')
  })

  it('that lacks little of the log and of what is committed', () => {
    const at = (match: number, commit: number): string =>
      step({ ...growing, commit, progress: { 2: { match } } })
    const end = 5_000 - READY_LAG_ENTRIES
    expect(at(end, 1_000)).toBe('add-voter 2')
    expect(at(end - 1, 1_000)).toBe('nothing')
    expect(at(5_000 - READY_COMMIT_LAG_ENTRIES, 5_000)).toBe('add-voter 2')
    expect(at(5_000 - READY_COMMIT_LAG_ENTRIES - 1, 5_000)).toBe('nothing')
  })

  it('that is not being sent a snapshot, answers and is reachable', () => {
    expect(step({ ...growing, progress: { 2: { isSnapshot: true } } })).toBe('nothing')
    expect(step({ ...growing, progress: { 2: { isActive: false } } })).toBe('nothing')
    expect(step({ ...growing, away: 'b', progress: { 2: { isActive: true } } })).toBe('nothing')
  })

  it('of two voters: the third', () => {
    expect(step({ voters: '1a 2b', learners: '3c', desired: 'a b c' })).toBe('add-voter 3')
  })

  it('two at once, in one joint change', () => {
    expect(step({ voters: '1a', learners: '2b 3c', desired: 'a b c' })).toBe(
      'add-voter 2, add-voter 3'
    )
  })

  it('and demotes who is not wanted in the same change', () => {
    expect(step({ voters: '1a 2b 3c', learners: '4d', desired: 'a b d' })).toBe(
      'add-voter 4, add-learner 3'
    )
  })

  it('and demotes no more than it promotes', () => {
    const moving = { voters: '1a 2b 3c', desired: 'a d e' }
    expect(step({ ...moving, learners: '4d 5e', progress: { 5: { match: 1 } } })).toBe(
      'add-voter 4, add-learner 2'
    )
    expect(step({ ...moving, learners: '4d 5e' })).toBe(
      'add-voter 4, add-voter 5, add-learner 2, add-learner 3'
    )
  })

  it('and demotes nobody while there are fewer voters than wanted', () => {
    expect(step({ voters: '1a 2b', learners: '3c', desired: 'a c d' })).toBe('add-voter 3')
  })
})

describe('nextStep() demotes', () => {
  it('nobody before a replacement is ready', () => {
    const moving = { voters: '1a 2b 3c', desired: 'a b d', mayAddLearner: false }
    expect(step(moving)).toBe('nothing')
    expect(step({ ...moving, learners: '4d', progress: { 4: { match: 9 } } })).toBe('nothing')
  })

  it('when there are more voters than wanted', () => {
    expect(step({ voters: '1a 2b 3c', desired: 'a b' })).toBe('add-learner 3')
    expect(step({ voters: '1a 2b', desired: 'a' })).toBe('add-learner 2')
    expect(step({ voters: '1a 2b 3c 4d 5e', desired: 'a b c' })).toBe(
      'add-learner 4, add-learner 5'
    )
  })

  it('at once who is gone, when the others keep their quorum', () => {
    expect(step({ voters: '1a 2b 3c', desired: 'a b d', away: 'c d' })).toBe('add-learner 3')
    expect(step({ voters: '1a 2b 3c', desired: 'a b d', dead: [3], away: 'd' })).toBe(
      'add-learner 3'
    )
  })

  it('who is not heard only when it is out of reach too', () => {
    const progress = { 3: { isActive: false } }
    const words = { voters: '1a 2b 3c', desired: 'a b d', progress, mayAddLearner: false }
    expect(step(words)).toBe('nothing')
    expect(step({ ...words, away: 'c' })).toBe('add-learner 3')
  })

  it('those who are gone before those who answer', () => {
    const words = { voters: '1a 2b 3c', desired: 'a d e', learners: '4d', away: 'c' }
    expect(step(words)).toBe('add-voter 4, add-learner 3')
  })

  it('only as many as leave a quorum of voters that answer', () => {
    // With 2 away, replica 1 alone would be no quorum of 1 and 2.
    expect(step({ voters: '1a 2b 3c', desired: 'a b', away: 'b' })).toBe('nothing')
    // 1, 2 and 4 are left, or 1, 2 and 5: of both pairs two answer, of 1 and 2 only one.
    expect(step({ voters: '1a 2b 4d 5e', desired: 'a b', away: 'b' })).toBe('add-learner 4')
    expect(step({ voters: '1a 2b 3c 4d 5e', desired: 'a b c', away: 'b c' })).toBe('nothing')
  })

  it('a voter that is away and wanted never', () => {
    expect(step({ voters: '1a 2b 3c', desired: 'a b c', away: 'c' })).toBe('nothing')
  })
})

describe('nextStep() removes learners', () => {
  it('that were demoted', () => {
    expect(step({ voters: '1a 2b 4d', learners: '3c', desired: 'a b d' })).toBe('remove 3')
  })

  it('whose move was given up, before anything else', () => {
    expect(step({ voters: '1a 2b 3c', learners: '4d 5e', desired: 'a b c' })).toBe('remove 4')
    expect(step({ voters: '1a 2b 3c', learners: '4d 5e', desired: 'a b e' })).toBe('remove 4')
  })

  it('that are dead, and adds new ones for them', () => {
    const words = { voters: '1a', desired: 'a b' }
    expect(step({ ...words, learners: '2b', dead: [2] })).toBe('remove 2')
    expect(step({ ...words, roster: { nextReplica: 3 } })).toBe('add-learner 3')
  })

  it('but not one that is only away', () => {
    expect(step({ voters: '1a', learners: '2b', desired: 'a b', away: 'b' })).toBe('nothing')
  })
})

describe('nextStep() replaces a replica', () => {
  it('whose disk was lost: the layout says another store of the same peer', () => {
    const words = { voters: '1a 2b 3c', desired: 'a b c2' }
    expect(step({ ...words, mayAddLearner: false })).toBe('add-learner 3')
    expect(step({ voters: '1a 2b', learners: '3c', desired: 'a b c2' })).toBe('remove 3')
    const left = { voters: '1a 2b', desired: 'a b c2', roster: { nextReplica: 4 } }
    expect(step(left)).toBe('add-learner 4')
    expect(step({ voters: '1a 2b', learners: '4c2', desired: 'a b c2' })).toBe('add-voter 4')
  })

  it('that its node does not have any more, in the same store', () => {
    const words = { voters: '1a 2b 3c', desired: 'a b c', dead: [3] }
    expect(step(words)).toBe('add-learner 3')
    expect(step({ ...words, voters: '1a 2b', learners: '3c' })).toBe('remove 3')
    expect(step({ voters: '1a 2b', desired: 'a b c', roster: { nextReplica: 4 } })).toBe(
      'add-learner 4'
    )
  })

  it('that counts as lost since another was added for it, whoever leads', () => {
    // This leader has not been told that 3 is dead.
    expect(step({ voters: '1a 2b 3c', learners: '4c', desired: 'a b c' })).toBe(
      'add-voter 4, add-learner 3'
    )
  })

  it('first with a learner when the quorum needs the dead one gone, never by fewer than a quorum', () => {
    expect(step({ voters: '1a 2b', desired: 'a b2' })).toBe('nothing')
    expect(step({ voters: '1a 2b 3c 4d', desired: 'a b c d2' })).toBe('add-learner 4')
  })

  it('and a lost store counts for no quorum, even if something answers', () => {
    expect(step({ voters: '1a 2b 3c', desired: 'a b2 c2' })).toBe('nothing')
  })
})

describe('nextStep() hands over before the leader is demoted', () => {
  it('to a voter that stays', () => {
    expect(step({ voters: '1a 2b 3c', learners: '4d', desired: 'b c d' })).toBe('transfer 2')
    expect(step({ self: 2, voters: '1a 2b 3c', learners: '4d', desired: 'b c d' })).toBe(
      'add-voter 4, add-learner 1'
    )
  })

  it('to the preferred one, else to the one that lacks least', () => {
    const words = { voters: '1a 2b 3c', desired: 'b c' }
    expect(step({ ...words, preferred: 'c' })).toBe('transfer 3')
    expect(step({ ...words, progress: { 2: { match: 4_990 } } })).toBe('transfer 3')
    expect(step({ ...words, preferred: 'b', progress: { 2: { match: 4_990 } } })).toBe('transfer 2')
  })

  it('to none that is away or behind', () => {
    expect(step({ voters: '1a 2b 3c', desired: 'b c', away: 'b' })).toBe('transfer 3')
    const progress = { 2: { match: 1 }, 3: { match: 1 } }
    expect(step({ voters: '1a 2b 3c', desired: 'b c', progress })).toBe('nothing')
  })

  it('not before it must: until then it demotes the others', () => {
    expect(step({ voters: '1a 2b 3c', learners: '4d', desired: 'd e f' })).toBe(
      'add-voter 4, add-learner 2'
    )
    expect(step({ voters: '1a 3c 4d', desired: 'd e f' })).toBe('add-learner 5')
  })

  it('when it is the only voter: the new one is promoted first', () => {
    expect(step({ voters: '1a', learners: '2b', desired: 'b' })).toBe('add-voter 2')
    expect(step({ voters: '1a 2b', desired: 'b' })).toBe('transfer 2')
    expect(step({ self: 2, voters: '1a 2b', desired: 'b' })).toBe('add-learner 1')
    expect(step({ self: 2, voters: '2b', learners: '1a', desired: 'b' })).toBe('remove 1')
  })

  it('also when the layout says that its own store is another', () => {
    expect(step({ voters: '1a 2b', desired: 'a2 b' })).toBe('add-learner 3')
    expect(step({ voters: '1a 2b', learners: '3a2', desired: 'a2 b' })).toBe('transfer 2')
  })
})

describe('whole moves, when all goes well', () => {
  /** Follows the steps until there are none; a transfer makes the target lead. */
  function follow(words: ViewInWords): string[] {
    const told: string[] = []
    const places = new Map(membersOf(`${words.voters} ${words.learners ?? ''}`).map(nameOf))
    let voters = membersOf(words.voters).map(({ replica }) => replica)
    let learners = membersOf(words.learners ?? '').map(({ replica }) => replica)
    let self = words.self ?? 1
    let nextReplica = Math.max(...places.keys()) + 1
    const list = (ids: readonly number[]): string =>
      ids.map((id) => `${id}${places.get(id)}`).join(' ')
    for (let count = 0; count < 30; count++) {
      const next = nextStep(
        viewOf({
          ...words,
          self,
          voters: list(voters),
          learners: list(learners),
          roster: { nextReplica }
        })
      )
      told.push(inWords(next))
      if (next.kind === 'nothing') return told
      if (next.kind === 'transfer') {
        self = next.to
        continue
      }
      for (const member of decodeChangeContext(next.change.context).added) {
        places.set(...nameOf(member))
        nextReplica = member.replica + 1
      }
      for (const { type, id } of next.change.steps) {
        voters = voters.filter((voter) => voter !== id)
        learners = learners.filter((learner) => learner !== id)
        if (type === 'add-voter') voters.push(id)
        if (type === 'add-learner') learners.push(id)
      }
      voters.sort((a, b) => a - b)
      learners.sort((a, b) => a - b)
    }
    throw new Error(`It does not end: ${told.join('; ')}`)
  }

  const nameOf = ({ replica, peer, store }: ReturnType<typeof membersOf>[number]) =>
    [replica, `${peer}${Number.parseInt(store, 16)}`] as const

  it('grow from one to three and shrink back', () => {
    expect(follow({ voters: '1a', desired: 'a b c' })).toEqual([
      'add-learner 2',
      'add-voter 2',
      'add-learner 3',
      'add-voter 3',
      'nothing'
    ])
    expect(follow({ voters: '1a 2b 3c', desired: 'b' })).toEqual([
      'add-learner 3',
      'remove 3',
      'transfer 2',
      'add-learner 1',
      'remove 1',
      'nothing'
    ])
  })

  it('go to three other peers', () => {
    expect(follow({ voters: '1a 2b 3c', desired: 'd e f' })).toEqual([
      'add-learner 4',
      'add-voter 4, add-learner 2',
      'remove 2',
      'add-learner 5',
      'add-voter 5, add-learner 3',
      'remove 3',
      'add-learner 6',
      'transfer 4',
      'add-voter 6, add-learner 1',
      'remove 1',
      'nothing'
    ])
  })
})
