// All groups of the mesh, as its members report them, and what is done when one has lost its majority
// for good: `atoll shards` and `atoll recover`.

import { errorMessage, MeshError } from '../base/errors.ts'
import { compareText, type PeerId } from '../base/ids.ts'
import { placesOf } from '../core/groups/committed-layout.ts'
import { LEASE } from '../core/machine/own-queries.ts'
import { majorityVote } from '../core/raft/quorum.ts'
import { isTerminal } from '../core/membership/member.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { byMost, nameOf, survivorsOf } from '../shard/refound.ts'
import type { ShardLayer } from '../shard/shard-layer.ts'
import { SYSTEM, type ShardName } from '../shard/shards.ts'
import type { GroupReplica } from '../wire/node.ts'
import type { Colleagues } from './colleagues.ts'

/** How long a group that was founded anew may take to answer. */
const ANSWER_MS = 30_000

/** A group as its leader reports it, or without one, as whoever has most of it does. */
export type GroupStatus = {
  readonly shard: ShardName
  /** Undefined when none of the members that answer leads it. */
  readonly leader: PeerId | undefined
  readonly term: number
  readonly generation: number
  readonly voters: readonly PeerId[]
  readonly learners: readonly PeerId[]
  readonly commit: number
  readonly applied: number
  /** Voters that it should have, by the layout. */
  readonly votersWanted: number
}

/** A member's part in the groups. */
export type NodeGroups = {
  readonly peerId: PeerId
  readonly name: string
  /** Undefined when it didn't answer. */
  readonly replicas: number | undefined
  readonly leads: number
  /** Why it can't keep any group; empty when it can. */
  readonly failure: string
}

export type GroupsReport = {
  /** The system group first, then the shards. */
  readonly groups: readonly GroupStatus[]
  readonly nodes: readonly NodeGroups[]
}

/** What is left of a group that has lost its majority. */
export type Survivor = {
  readonly peerId: PeerId
  readonly name: string
  readonly isVoter: boolean
  readonly lastTerm: number
  readonly lastIndex: number
}

export type Recovery = {
  readonly shard: ShardName
  /** The one that is given up. */
  readonly generation: number
  /** Best first: the group is founded anew from the first one. */
  readonly survivors: readonly Survivor[]
  /** Voters that don't answer, or have nothing of the group any more. */
  readonly missing: readonly { readonly peerId: PeerId; readonly name: string }[]
  /** The highest index that a survivor knows to be committed. */
  readonly commit: number
}

type Found = { readonly peer: PeerId; readonly own: GroupReplica }

export type ShardGroupsParts = {
  readonly mesh: Mesh
  readonly colleagues: Colleagues
  readonly shardLayer: ShardLayer
}

export class ShardGroups {
  readonly #parts: ShardGroupsParts

  constructor(parts: ShardGroupsParts) {
    this.#parts = parts
  }

  /** Asks every member; those that don't answer within 1.5 s are left out. */
  async report(): Promise<GroupsReport> {
    const { mesh, shardLayer } = this.#parts
    const present = mesh.members().filter(({ state }) => !isTerminal(state))
    const replies = await this.#ask(present.map(({ record }) => record.peerId))
    const nodes = present.map(({ record: { peerId, name } }): NodeGroups => {
      const reply = replies.get(peerId)
      if (reply === undefined) {
        return { peerId, name, replicas: undefined, leads: 0, failure: '' }
      }
      const { replicas, failure } = reply
      const leads = replicas.filter(({ isLeader }) => isLeader).length
      return { peerId, name, replicas: replicas.length, leads, failure }
    })
    const byGroup = Map.groupBy(foundIn(replies), ({ own }) => own.group)
    const groups = Array.from({ length: shardLayer.router.count + 1 }, (_, group) =>
      this.#statusOf(group, byGroup.get(group) ?? [])
    )
    return { groups, nodes }
  }

  /**
   * What there is to go on from, when a group has lost its majority.
   *
   * @throws invalid-argument, not-found when nothing is left, conflict when a majority answers
   */
  async planRecovery(shard: ShardName): Promise<Recovery> {
    const { plan } = await this.#plan(shard)
    return plan
  }

  /** @returns also the newest generation that anybody has heard of, if only by name. */
  async #plan(shard: ShardName): Promise<{ plan: Recovery; newest: number }> {
    const { mesh } = this.#parts
    const group = this.#groupOf(shard)
    const refused = (code: 'not-found' | 'conflict', why: string): MeshError =>
      new MeshError(code, `Cannot recover ${nameOf(group)}: ${why}`)
    const peers = mesh.members().flatMap(({ record, state }) => {
      return isTerminal(state) ? [] : [record.peerId]
    })
    const replies = [...(await this.#ask(peers))].filter(([, { failure }]) => failure === '')
    const all = foundIn(replies).filter(({ own }) => own.group === group)
    const left = survivorsOf(all)
    const [best] = left
    if (best === undefined) {
      throw refused(
        'not-found',
        'no member that answers has anything of it to go on from; bring one back'
      )
    }
    const { generation, members } = best.own
    const has = (replica: number): boolean => left.some(({ own }) => own.replica === replica)
    const isThere = (replica: number): boolean | undefined => (has(replica) ? true : undefined)
    const voters = members.filter(({ isVoter }) => isVoter).map(({ replica }) => replica)
    const outgoing = members.filter((one) => one.isOutgoingVoter).map(({ replica }) => replica)
    const hasMajority = [voters, outgoing].every((half) => majorityVote(half, isThere) === 'won')
    if (hasMajority || left.some(({ own }) => own.isLeader)) {
      const count = voters.filter(has).length
      const are = `${count} of its ${voters.length} voters answer`
      throw refused('conflict', `${are}, so it elects a leader by itself and loses nothing`)
    }
    const plan = {
      shard,
      generation,
      survivors: left.map(({ peer, own }) => {
        const { lastTerm, lastIndex, replica } = own
        const isVoter = voters.includes(replica) || outgoing.includes(replica)
        return { peerId: peer, name: this.#nameOf(peer), isVoter, lastTerm, lastIndex }
      }),
      missing: members
        .filter((one) => (one.isVoter || one.isOutgoingVoter) && !has(one.replica))
        .map(({ peer }) => ({ peerId: peer, name: this.#nameOf(peer) }))
        .toSorted((a, b) => compareText(a.name, b.name)),
      commit: Math.max(...left.map(({ own }) => own.commit))
    }
    return { plan, newest: Math.max(...all.map(({ own }) => own.generation)) }
  }

  /**
   * Founds a group anew from the best of what is left, and waits until it answers. What only the
   * missing voters had is lost, and whatever they come back with is set aside there.
   *
   * @returns what was gone on from, and the new generation
   * @throws as {@link planRecovery}; no-quorum when the group doesn't answer afterwards
   */
  async recover(
    shard: ShardName,
    options: { readonly signal?: AbortSignal | undefined } = {}
  ): Promise<Recovery & { readonly newGeneration: number }> {
    const { colleagues, shardLayer } = this.#parts
    const { plan, newest } = await this.#plan(shard)
    const { generation, survivors } = plan
    const group = this.#groupOf(shard)
    const [best] = survivors as [Survivor]
    const order = { group, generation, newest }
    const newGeneration = await colleagues.recoverAt(best.peerId, order)
    try {
      const { signal } = options
      await shardLayer.router.query(
        { shard },
        LEASE,
        { lease: 0 },
        { timeoutMs: ANSWER_MS, signal }
      )
    } catch (error) {
      const done = `${nameOf(group)} was founded anew on ${best.name}, but doesn't answer yet`
      throw new MeshError('no-quorum', `${done}: ${errorMessage(error)}`, { cause: error })
    }
    return { ...plan, newGeneration }
  }

  async #ask(
    peers: readonly PeerId[]
  ): Promise<Map<PeerId, { replicas: readonly GroupReplica[]; failure: string }>> {
    const replies = await Promise.all(
      peers.map(async (peer) => [peer, await this.#parts.colleagues.replicasOf(peer)] as const)
    )
    return new Map(
      replies.flatMap(([peer, reply]) => (reply === undefined ? [] : [[peer, reply] as const]))
    )
  }

  #statusOf(group: number, found: readonly Found[]): GroupStatus {
    const layout = this.#parts.shardLayer.layouts.current()
    const [said] = found.toSorted(byWord)
    const members = said?.own.members ?? []
    const term = Math.max(0, ...found.map(({ own }) => own.term))
    return {
      shard: group === 0 ? SYSTEM : group - 1,
      leader: said?.own.isLeader === true ? said.peer : undefined,
      term: said?.own.isLeader === true ? said.own.term : term,
      generation: said?.own.generation ?? 0,
      voters: members.filter(({ isVoter }) => isVoter).map(({ peer }) => peer),
      learners: members
        .filter(({ isVoter, isOutgoingVoter }) => !isVoter && !isOutgoingVoter)
        .map(({ peer }) => peer),
      commit: said?.own.commit ?? 0,
      applied: said?.own.applied ?? 0,
      votersWanted: layout === undefined ? 0 : placesOf(layout, group).length
    }
  }

  /** @throws invalid-argument */
  #groupOf(shard: ShardName): number {
    const { count } = this.#parts.shardLayer.router
    if (shard === SYSTEM) return 0
    if (Number.isInteger(shard) && shard >= 0 && shard < count) return shard + 1
    const accepted = `0 to ${count - 1}, or "${SYSTEM}"`
    throw new MeshError('invalid-argument', `There is no shard ${shard}; accepted is ${accepted}`)
  }

  #nameOf(peer: PeerId): string {
    return this.#parts.mesh.member(peer)?.record.name ?? peer
  }
}

function foundIn(
  replies: Iterable<readonly [PeerId, { readonly replicas: readonly GroupReplica[] }]>
): Found[] {
  return [...replies].flatMap(([peer, { replicas }]) => replicas.map((own) => ({ peer, own })))
}

/** The newest leader has the word; without one, who has most. */
function byWord(a: Found, b: Found): number {
  const newer = b.own.generation - a.own.generation
  if (newer !== 0) return newer
  if (a.own.isLeader && b.own.isLeader) return b.own.term - a.own.term
  return Number(b.own.isLeader) - Number(a.own.isLeader) || byMost(a.own, b.own)
}
