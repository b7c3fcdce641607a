// What holds after every step, whatever was heard. Tests and simulations check it; a node doesn't.

import { assert } from '../../base/assert.ts'
import { compareText } from '../../base/ids.ts'
import type { PeerId } from '../../base/ids.ts'
import { MEMBER_COUNT_MAX } from '../../base/limits.ts'
import { isAnswering, isTerminal, updateVersion } from './member.ts'
import type { Membership, MembershipParts } from './membership.ts'
import { TOMBSTONE_COUNT_MAX } from './messages.ts'
import { updateProblem } from './record-check.ts'
import { RELAY_COUNT_MAX } from './relay.ts'

/** The `updateVersion()` that was shown of each member. A tombstone that was dropped starts anew. */
export type ShownVersions = ReadonlyMap<PeerId, number>

/**
 * Crashes when an invariant is broken.
 *
 * @param before what the last check returned, if there was one.
 * @returns what to compare with at the next check.
 */
export function checkInvariants(membership: Membership, before?: ShownVersions): ShownVersions {
  const parts = membership.parts()
  checkTable(parts)
  checkSelf(parts)
  checkProbes(parts)
  return checkVersions(parts, before)
}

function checkVersions({ opinions }: MembershipParts, before?: ShownVersions): ShownVersions {
  const shown = new Map<PeerId, number>()
  for (const member of opinions.table.sorted()) {
    const { peerId } = member.record
    const version = updateVersion(member)
    const isRisen = version >= (before?.get(peerId) ?? 0)
    assert(isRisen, 'what is shown of a member for placement never falls')
    shown.set(peerId, version)
  }
  return shown
}

function checkTable({ opinions }: MembershipParts): void {
  const { table, suspicions, news } = opinions
  const members = table.sorted()
  let suspects = 0
  let tombstones = 0
  for (const [index, member] of members.entries()) {
    const { record, state } = member
    const previous = members[index - 1]?.record.peerId
    const isSorted = previous === undefined || compareText(previous, record.peerId) < 0
    assert(isSorted, 'members are sorted by id, none twice')
    assert(table.get(record.peerId) === member, 'list and map hold the same members')
    const problem = updateProblem(member)
    assert(problem === undefined || problem === 'revision', 'every member passes its check')
    if (state === 'suspect') suspects++
    if (isTerminal(state)) tombstones++
    const suspicion = suspicions.get(record.peerId)
    const isMatched = suspicion?.incarnation === record.incarnation
    assert((state === 'suspect') === (suspicion !== undefined), 'a suspicion for every suspect')
    assert(suspicion === undefined || isMatched, 'the suspicion is of the incarnation known')
  }
  assert(suspects === suspicions.size, 'no suspicion without a suspect')
  assert(tombstones === table.tombstoneCount, 'tombstones are counted')
  assert(members.length === table.memberCount + tombstones, 'members are counted')
  assert(table.memberCount <= MEMBER_COUNT_MAX, 'members are bounded')
  assert(tombstones <= TOMBSTONE_COUNT_MAX, 'tombstones are bounded')
  assert(news.size <= members.length, 'news is about known members')
}

function checkSelf({ opinions }: MembershipParts): void {
  const { table, own, isOut } = opinions
  const self = table.get(table.selfId)
  assert(self !== undefined, 'this node is in its table')
  assert(self.record === own.record, 'the own entry is the own record')
  assert(self.state === (isOut ? 'evicted' : own.state), 'nobody else decides what this node is')
}

function checkProbes({ opinions, prober, relays, health }: MembershipParts): void {
  const { table } = opinions
  const order = new Set(prober.order)
  assert(order.size === prober.order.length, 'nobody is probed twice in a round')
  const answering = table.sorted().filter(({ state }) => isAnswering(state))
  const others = answering.filter(({ record }) => record.peerId !== table.selfId)
  assert(others.length === order.size, 'everyone that answers is probed')
  for (const { record } of others) assert(order.has(record.peerId), 'and nobody else')
  const targets = new Set(prober.running.map(({ target }) => target))
  assert(targets.size === prober.running.length, 'one probe per member')
  for (const target of targets) assert(order.has(target), 'only members in the order are probed')
  assert(relays.size <= RELAY_COUNT_MAX, 'pings for others are bounded')
  assert(health.score >= 0, 'the health score is not negative')
}
