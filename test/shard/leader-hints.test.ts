import { beforeEach, expect, it } from 'vitest'
import { peerId } from '../../src/base/ids.ts'
import type { PeerId } from '../../src/base/ids.ts'
import { LeaderHints } from '../../src/shard/leader-hints.ts'

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => peerId(name)) as [
  PeerId,
  PeerId,
  PeerId,
  PeerId
]
const GROUP = 3

let nowMs = 0
let leader: PeerId | undefined
let members: PeerId[] = []
let owners: PeerId[] = []
let others: PeerId[] = []
let unreachable: PeerId[] = []
let hints: LeaderHints

beforeEach(() => {
  nowMs = 0
  leader = undefined
  members = []
  owners = []
  others = []
  unreachable = []
  hints = new LeaderHints({
    members: () => members,
    leader: () => leader,
    owners: () => owners,
    others: () => others,
    isReachable: (peer) => !unreachable.includes(peer),
    nowMs: () => nowMs
  })
})

it('asks who was told of first, then the leader, the members and the owners, each once', () => {
  leader = b
  members = [a, b]
  owners = [c, a]
  others = [d]
  hints.learn(GROUP, c)
  expect(hints.pick(GROUP, 0)).toBe(c)
  expect(hints.candidates(GROUP)).toEqual([c, b, a])
  hints.forget(GROUP, a)
  expect(hints.pick(GROUP, 0)).toBe(c)
  hints.forget(GROUP, c)
  expect([0, 1, 2, 3].map((attempt) => hints.pick(GROUP, attempt))).toEqual([b, a, c, b])
})

it('asks last who did not answer, for a second, and before them who is out of reach', () => {
  owners = [a, b, c]
  hints.learn(GROUP, a)
  hints.avoid(a)
  unreachable = [b]
  expect(hints.candidates(GROUP)).toEqual([c, b, a])
  expect(hints.pick(GROUP, 0)).toBe(c)
  nowMs = 1_000
  expect(hints.pick(GROUP, 0)).toBe(a)
  hints.avoid(a)
  hints.answered(a)
  expect(hints.pick(GROUP, 0)).toBe(a)
})

it('asks anybody when nobody is known, or when nobody that is known answers', () => {
  expect(hints.pick(GROUP, 0)).toBeUndefined()
  others = [d]
  expect(hints.pick(GROUP, 5)).toBe(d)
  owners = [a, b]
  expect(hints.candidates(GROUP)).toEqual([a, b])
  unreachable = [a, b]
  expect(hints.candidates(GROUP)).toEqual([d, a, b])
})
