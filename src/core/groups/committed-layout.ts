// The layout as the system group commits it: the members that placement counts on, who owns which
// arc of blocks, and who which group. One value with a version, so both rings change together.

import { compareText } from '../../base/ids.ts'
import { peerId, storeId } from '../../base/ids.ts'
import type { PeerId, StoreId } from '../../base/ids.ts'
import { MEMBER_COUNT_MAX, WEIGHT_MAX, ZONE_LENGTH_MAX } from '../../base/limits.ts'
import { malformed } from '../machine/byte-fields.ts'
import { bytes, decode, encode, label, list, record, text, uint } from '../machine/codec.ts'
import type { Codec } from '../machine/codec.ts'
import { NO_OWNER, RING_ALGORITHM, ownersOf } from '../ring/layout.ts'
import type { Layout, RingMember, RingOptions } from '../ring/layout.ts'
import { nextLayout } from '../ring/next-layout.ts'
import type { Place } from './roster.ts'

/** A member as placement sees it. */
export type LayoutMember = RingMember & {
  /** Its disk: replicas are bound to it. */
  readonly store: StoreId
  /** Of what the member says of itself: news that are older don't count. */
  readonly revision: number
}

export type CommittedLayout = {
  /** From 1, more with each change. */
  readonly version: number
  /** Sorted by id. */
  readonly members: readonly LayoutMember[]
  /** Who owns which arc of blocks, in proportion to capacity. */
  readonly blocks: Layout
  /** Who owns which group: arc g is group g. All members count alike. */
  readonly groups: Layout
}

export type LayoutShape = {
  readonly blocks: RingOptions
  /** Shards and the system group. */
  readonly groups: RingOptions
}

/**
 * @param members those that should own something
 * @param versionMin an older one is replaced though nothing else changes
 * @returns the next layout; undefined when nothing has to change. Blocks and groups move as little
 *   as the change allows.
 */
export function nextCommittedLayout(
  previous: CommittedLayout | undefined,
  members: readonly LayoutMember[],
  shape: LayoutShape,
  versionMin = 1
): CommittedLayout | undefined {
  const sorted = members.toSorted((a, b) => compareText(a.id, b.id))
  const isNew = previous !== undefined && previous.version >= versionMin
  if (isNew && isSame(previous.members, sorted)) return undefined
  const equals = sorted.map(({ id, zone }) => ({ id, zone, weight: 1 }))
  const ring = sorted.map(({ id, zone, weight }) => ({ id, zone, weight }))
  return {
    version: Math.max((previous?.version ?? 0) + 1, versionMin),
    members: sorted,
    blocks: nextLayout(previous?.blocks ?? null, ring, shape.blocks),
    groups: nextLayout(previous?.groups ?? null, equals, shape.groups)
  }
}

/** @returns where the replicas of a group should be. */
export function placesOf(layout: CommittedLayout, group: number): Place[] {
  const stores = new Map(layout.members.map(({ id, store }) => [id, store]))
  return ownersOf(layout.groups, group).flatMap((peer) => {
    const store = stores.get(peer)
    return store === undefined ? [] : [{ peer, store }]
  })
}

/**
 * Who should own something next. Whoever stands in the layout stays until it is known to be out: the
 * node that decides may have heard less than the one before it.
 *
 * @param known members that should own something, as this node knows them
 * @param isOut whether a member has left, was put out, is gone or wants to go
 */
export function membersAfter(
  previous: CommittedLayout | undefined,
  known: readonly LayoutMember[],
  isOut: (peer: PeerId) => boolean
): LayoutMember[] {
  const members = new Map<PeerId, LayoutMember>()
  for (const member of previous?.members ?? []) {
    if (!isOut(member.id)) members.set(member.id, member)
  }
  for (const member of known) {
    const before = members.get(member.id)
    if (before === undefined || before.revision <= member.revision) members.set(member.id, member)
  }
  return [...members.values()]
}

function isSame(before: readonly LayoutMember[], now: readonly LayoutMember[]): boolean {
  return (
    before.length === now.length &&
    before.every((member, place) => {
      const { id, weight, zone, store } = now[place] as LayoutMember
      const isPlacedAlike = member.id === id && member.weight === weight && member.zone === zone
      return isPlacedAlike && member.store === store
    })
  )
}

const VERSION = 1
const ARCS_MAX = 16_384
const COPIES_MAX = 7

type Stored = {
  readonly form: number
  readonly version: number
  readonly members: readonly LayoutMember[]
  readonly blocks: StoredRing
  readonly groups: StoredRing
}

/** Members stand in the value once: `owners` has their places, two bytes each, low byte first. */
type StoredRing = RingOptions & { readonly algorithm: number; readonly owners: Uint8Array }

const ringCodec: Codec<StoredRing> = record<StoredRing>({
  algorithm: uint,
  arcCount: uint,
  replication: uint,
  owners: bytes(ARCS_MAX * COPIES_MAX * 2)
})

const layoutCodec: Codec<Stored> = record<Stored>({
  form: uint,
  version: uint,
  members: list(
    record<LayoutMember>({
      id: label(128) as Codec<PeerId>,
      weight: uint,
      zone: text(4 * ZONE_LENGTH_MAX),
      store: label(32) as Codec<StoreId>,
      revision: uint
    }),
    MEMBER_COUNT_MAX
  ),
  blocks: ringCodec,
  groups: ringCodec
})

/** @returns bytes of their own. */
export function encodeCommittedLayout(layout: CommittedLayout): Uint8Array {
  const { version, members, blocks, groups } = layout
  const stored = {
    form: VERSION,
    version,
    members,
    blocks: toStored(blocks),
    groups: toStored(groups)
  }
  return encode(layoutCodec, stored).slice()
}

/** @throws invalid-data unless it is a layout that can be acted on */
export function decodeCommittedLayout(encoded: Uint8Array): CommittedLayout {
  const { form, version, members, blocks, groups } = decode(layoutCodec, encoded)
  if (form !== VERSION) throw malformed(`a layout has form ${form}, not ${VERSION}`)
  members.forEach(({ id, weight, store }, place) => {
    if (weight > WEIGHT_MAX) throw malformed(`a member's weight is ${weight}`)
    const before = members[place - 1]
    if (before !== undefined && before.id >= id) throw malformed('members are out of order')
    checked(() => peerId(id))
    checked(() => storeId(store))
  })
  const ring = members.map(({ id, weight, zone }) => ({ id, weight, zone }))
  const equals = ring.map((member) => ({ ...member, weight: 1 }))
  return { version, members, blocks: fromStored(blocks, ring), groups: fromStored(groups, equals) }
}

function toStored({ algorithm, arcCount, replication, owners }: Layout): StoredRing {
  const stored = new Uint8Array(owners.length * 2)
  owners.forEach((owner, slot) => {
    stored[2 * slot] = owner & 0xff
    stored[2 * slot + 1] = owner >>> 8
  })
  return { algorithm, arcCount, replication, owners: stored }
}

function fromStored(stored: StoredRing, members: readonly RingMember[]): Layout {
  const { algorithm, arcCount, replication } = stored
  if (algorithm !== RING_ALGORITHM) throw malformed(`a ring has algorithm ${algorithm}`)
  const isShaped =
    arcCount >= 1 && arcCount <= ARCS_MAX && replication >= 1 && replication <= COPIES_MAX
  if (!isShaped || stored.owners.length !== arcCount * replication * 2) {
    throw malformed(`a ring of ${arcCount} arcs has ${stored.owners.length} bytes of owners`)
  }
  const owners = new Uint16Array(arcCount * replication)
  for (let slot = 0; slot < owners.length; slot++) {
    const owner =
      (stored.owners[2 * slot] as number) | ((stored.owners[2 * slot + 1] as number) << 8)
    if (owner !== NO_OWNER && owner >= members.length)
      throw malformed(`there is no member ${owner}`)
    owners[slot] = owner
  }
  return { algorithm, arcCount, replication, members, owners }
}

function checked(parse: () => unknown): void {
  try {
    parse()
  } catch (cause) {
    throw malformed(`a member has no right name: ${String(cause)}`)
  }
}
