import { beforeEach, expect, it } from 'vitest'
import { peerId, storeId } from '../../src/base/ids.ts'
import type { Place, Roster } from '../../src/core/groups/roster.ts'
import { createMessage } from '../../src/core/raft/messages.ts'
import type { Message, MessageType } from '../../src/core/raft/messages.ts'
import { Places } from '../../src/shard/places.ts'
import type { Replica } from '../../src/shard/replica.ts'

const GROUP = 1
const placeOf = (name: string): Place => ({
  peer: peerId(name),
  store: storeId(name.repeat(32))
})
const [a, b, c] = [placeOf('a'), placeOf('b'), placeOf('c')]

let roster: Roster
let replica: Replica
let places: Places

/** Replicas 1 and 3 are members, 2 was one. */
beforeEach(() => {
  const members = [
    { ...a, replica: 1 },
    { ...b, replica: 3 }
  ]
  roster = { members, nextReplica: 4, layoutVersion: 1, generation: 1 }
  const applied = {
    get roster() {
      return roster
    },
    peerOf: (id: number) => roster.members.find((member) => member.replica === id)?.peer
  }
  replica = { group: GROUP, applied } as unknown as Replica
  places = new Places()
})

const from = (id: number, type: MessageType = 'heartbeat'): Message =>
  createMessage({ type, from: id, to: 1 })

it('believes members from their own places, and nobody who was removed', () => {
  expect(places.check(replica, b, from(3))).toBe('right')
  expect(places.check(replica, c, from(3))).toBe('wrong')
  expect(places.check(replica, { ...b, store: c.store }, from(3))).toBe('wrong')
  expect(places.check(replica, c, from(2))).toBe('removed')
})

it('believes what is passed on under the name of another', () => {
  expect(places.check(replica, c, from(2, 'read-index'))).toBe('right')
  expect(places.check(replica, c, from(2, 'propose'))).toBe('right')
})

it('remembers where somebody wrote from that it will hear of, within a bound', () => {
  expect(places.of(replica, 4)).toBeUndefined()
  expect(places.check(replica, c, from(4))).toBe('right')
  expect(places.of(replica, 4)).toEqual(c)
  for (let id = 5; id < 200; id++) places.check(replica, c, from(id))
  expect(places.of(replica, 67)).toEqual(c)
  expect(places.of(replica, 68)).toBeUndefined()
  places.membersChanged(replica)
  expect(places.of(replica, 4)).toBeUndefined()
  expect(places.of(replica, 3)).toMatchObject(b)
})

it('believes of a replica that it is no more from its own node only, while it is a member', () => {
  places.noteDead(replica, 3, a.peer)
  places.noteDead(replica, 2, b.peer)
  expect([places.isDead(GROUP, 3), places.isDead(GROUP, 2)]).toEqual([false, false])
  places.noteDead(replica, 3, b.peer)
  expect(places.isDead(GROUP, 3)).toBe(true)
  const before = roster.members
  expect(places.membersChanged(replica)).toEqual([])
  roster = { ...roster, members: before.slice(0, 1) }
  expect(places.membersChanged(replica)).toEqual(before)
  expect(places.isDead(GROUP, 3)).toBe(false)
})
