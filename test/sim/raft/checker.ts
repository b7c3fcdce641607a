// Looks at a replica after each of its steps, and at what that means for the group: the invariants
// of the TLA+ specification of etcd's Raft (`etcdraft.tla`), and a few that are stronger.
//
// `QuorumLog` and `MoreUpToDateCorrect` hold there for every pair of replicas at once; here they are
// put so that a step is cheap to check. A leader's commit is on a quorum of the members by which it
// counted (QuorumLog, when it happens), and stays there (CommittedIsDurable, whenever a durable log
// loses something). A log whose last term is above a term T has everything that leaders of T or
// before have committed (LeaderCompleteness and MoreUpToDateCorrect: such a log's last entry was
// made by a leader that was elected after that commit).

import { checkInvariants, type Remembered } from '../../../src/core/raft/invariants.ts'
import { UNBOUNDED } from '../../../src/core/raft/messages.ts'
import type { Entry, Message, ReplicaId, Snapshot } from '../../../src/core/raft/messages.ts'
import type { Raft } from '../../../src/core/raft/raft.ts'
import type { RaftState } from '../../../src/core/raft/state.ts'
import type { Disk } from './disk.ts'
import { Ledger } from './ledger.ts'
import type { MachineState } from './machine.ts'
import { configInWords, isQuorum } from './quorum.ts'
import { Violation, demand } from './violation.ts'

/** What the checker sees of a replica. */
export type Subject = {
  readonly id: ReplicaId
  readonly disk: Disk
  readonly raft: Raft | undefined
}

/** What was seen of a replica that runs. */
type Seen = {
  local: Remembered
  /** The array and how much of it was looked at. */
  unstable: readonly Entry[]
  unstableCount: number
  /** The first index that was not durable. */
  offset: number
}

export class Checker {
  readonly ledger: Ledger
  readonly #subjects: readonly Subject[]
  readonly #seen = new Map<ReplicaId, Seen>()
  /** Who was granted a vote: by term and voter, for ever. */
  readonly #grants = new Map<string, ReplicaId>()
  /** Called when a replica came to lead. */
  onLeader: (id: ReplicaId) => void = () => {}

  constructor(subjects: readonly Subject[], founding: Snapshot) {
    this.#subjects = subjects
    this.ledger = new Ledger(founding)
  }

  /** A replica has started, from what its disk has. */
  started({ id, raft, disk }: Subject): void {
    if (raft === undefined) return
    const { log, term, vote } = raft.state
    const { hardState } = disk
    const isSame = term === hardState.term && vote === hardState.vote
    demand('TermsNeverFall', isSame, `r${id} starts in term ${term}, not ${hardState.term}`)
    const local = checkInvariants(raft)
    const { unstable } = log
    const seen = { local, unstable: unstable.entries, unstableCount: 0, offset: unstable.offset }
    this.#seen.set(id, seen)
    const entries = log.slice(log.firstIndex, log.lastIndex + 1, UNBOUNDED) ?? []
    for (const entry of entries) this.ledger.noteEntry(id, entry, log.term(entry.index - 1))
    const isKnown = log.committed <= this.ledger.committed
    demand('CommittedByLeader', isKnown, `r${id} starts with a commit of ${log.committed}`)
    this.#checkCommitted(id, log.firstIndex - 1, raft.state)
    this.#checkComplete(id, raft.state)
    this.checkDurable()
  }

  stopped(id: ReplicaId): void {
    this.#seen.delete(id)
  }

  /** A replica has made a step. */
  observe({ id, raft }: Subject): void {
    const seen = this.#seen.get(id)
    if (raft === undefined || seen === undefined) return
    const before = seen.local
    seen.local = checkInvariants(raft, before)
    const { state } = raft
    this.#observeLog(id, state, seen)
    const { role, term } = seen.local
    if (role !== before.role || term !== before.term) this.#observeRole(id, state)
    if (seen.local.commit > before.commit) {
      this.#observeCommit(id, state, before.commit)
      this.#checkCampaign(id, state)
    }
  }

  #observeLog(id: ReplicaId, state: RaftState, seen: Seen): void {
    const { log } = state
    const { entries, offset, snapshot } = log.unstable
    if (offset > seen.offset && snapshot === undefined) this.#checkStable(id, state, seen)
    seen.offset = offset
    const isGrown = entries === seen.unstable
    if (isGrown && entries.length === seen.unstableCount) return
    const from = isGrown ? seen.unstableCount : 0
    for (let at = from; at < entries.length; at++) {
      const entry = entries[at] as Entry
      this.ledger.noteEntry(id, entry, log.term(entry.index - 1))
      const isOwn = state.role === 'leader' && entry.term === state.term
      if (isOwn && entry.type === 'config-change') this.#checkAlone(id, state, entry.index)
    }
    seen.unstable = entries
    seen.unstableCount = entries.length
    this.#checkComplete(id, state)
  }

  /** What the replica holds to be durable now is in its storage, and is what it had. */
  #checkStable(id: ReplicaId, { log }: RaftState, seen: Seen): void {
    for (let at = 0; at < seen.unstableCount; at++) {
      const { index, term } = seen.unstable[at] as Entry
      if (index >= log.unstable.offset) return
      const stored = log.storage.term(index)
      if (stored === term || index < log.storage.firstIndex()) continue
      const detail = `r${id} counts on ${index}/t${term}, its storage has t${stored}`
      throw new Violation('StableIsStored', detail)
    }
  }

  /** One change of members at a time: the one before was applied when its leader appended this. */
  #checkAlone(id: ReplicaId, { log }: RaftState, index: number): void {
    const entries = log.slice(log.applied + 1, index, UNBOUNDED) ?? []
    const other = entries.find(({ type }) => type === 'config-change')
    if (other === undefined) return
    const detail = `r${id} appends change ${index}, and ${other.index} is not applied`
    throw new Violation('OneChangeAtATime', detail)
  }

  #observeRole(id: ReplicaId, state: RaftState): void {
    const { role, term, members, log } = state
    if (role === 'candidate' || role === 'pre-candidate') {
      const { voters, votersOutgoing } = members.config
      const isVoter = voters.includes(id) || votersOutgoing.includes(id)
      const isWhole = log.unstable.snapshot === undefined
      demand('OnlyVotersCampaign', isVoter && isWhole, `r${id} campaigns in term ${term}`)
    }
    this.#checkCampaign(id, state)
    if (role !== 'leader') return
    this.ledger.noteLeader(id, term)
    const own = this.#subjects[id - 1]?.disk.hardState
    const hasVote = (voter: ReplicaId): boolean =>
      voter === id
        ? own?.term === term && own.vote === id
        : this.#grants.get(`${term} ${voter}`) === id
    if (!isQuorum(members.config, hasVote)) {
      const detail = `r${id} leads term ${term} without a quorum of ${configInWords(members.config)}`
      throw new Violation('LeaderHasQuorum', detail)
    }
    this.onLeader(id)
  }

  /** Whoever asks for votes counts them by members that are not older than what it committed. */
  #checkCampaign(id: ReplicaId, { role, log }: RaftState): void {
    if (role !== 'candidate' && role !== 'pre-candidate') return
    const entries = log.slice(log.applied + 1, log.committed + 1, UNBOUNDED) ?? []
    const change = entries.find(({ type }) => type === 'config-change')
    const detail = `r${id} campaigns, and change ${change?.index} is not applied`
    demand('NoCampaignBeforeChange', change === undefined, detail)
  }

  #observeCommit(id: ReplicaId, state: RaftState, before: number): void {
    const { log, role, term, members } = state
    const { committed } = log
    if (role === 'leader' && committed > this.ledger.committed) {
      this.#checkCommitted(id, before, state)
      const entryTerm = log.termAt(committed)
      const detail = `r${id} commits ${committed}/t${entryTerm} in term ${term}`
      demand('CommittedInOwnTerm', entryTerm === term, detail)
      this.ledger.claim = { index: committed, term, config: members.config }
      this.checkDurable('QuorumLog')
    } else {
      const isKnown = committed <= this.ledger.committed
      demand('CommittedByLeader', isKnown, `r${id} commits ${committed}, and no leader did`)
      this.#checkCommitted(id, before, state)
    }
    if (role !== 'leader') return
    this.ledger.noteCommit(term, committed)
    for (const other of this.#subjects) {
      if (other.raft !== undefined) this.#checkComplete(other.id, other.raft.state)
    }
  }

  #checkCommitted(id: ReplicaId, before: number, { log }: RaftState): void {
    // Below its first entry a log knows one term only: that of the snapshot's last.
    const from = Math.max(before + 1, log.firstIndex - 1)
    for (let index = from; index <= log.committed; index++) {
      this.ledger.noteCommitted(id, index, log.termAt(index))
    }
  }

  /** LeaderCompleteness, of leaders and of all whose log could make them one. */
  #checkComplete(id: ReplicaId, { log }: RaftState): void {
    const index = this.ledger.committedBefore(log.lastTerm)
    if (index === 0 || index < log.firstIndex - 1) return
    const term = this.ledger.termOf(index)
    if (log.term(index) === term) return
    const detail = `r${id}'s log ends in term ${log.lastTerm} and lacks committed ${index}/t${term}`
    throw new Violation('LeaderCompleteness', detail)
  }

  /** CommittedIsDurable: the last commit is on the disks of a quorum. */
  checkDurable(invariant = 'CommittedIsDurable'): void {
    const { claim } = this.ledger
    if (claim === undefined) return
    const { index, term, config } = claim
    const isStored = (id: ReplicaId): boolean => {
      const storage = this.#subjects[id - 1]?.disk.storage
      return storage !== undefined && (storage.firstIndex() > index || storage.term(index) === term)
    }
    if (isQuorum(config, isStored)) return
    const having = [...config.voters, ...config.votersOutgoing].filter(isStored)
    const detail = `${index}/t${term} is durable at ${having.join(' ')} of ${configInWords(config)}`
    throw new Violation(invariant, detail)
  }

  /** What a replica says of itself must be durable when it says so, and stays said. */
  checkAttested({ id, disk }: Subject, { type, to, term, index, reject }: Message): void {
    if (reject) return
    if (type === 'vote-response') {
      const { hardState } = disk
      const isKept = hardState.term > term || (hardState.term === term && hardState.vote === to)
      demand('VoteIsDurable', isKept, `r${id} tells r${to} of a vote in term ${term}`)
      const key = `${term} ${id}`
      const before = this.#grants.get(key) ?? to
      demand('OneVotePerTerm', before === to, `r${id} votes for ${before}, ${to} in term ${term}`)
      this.#grants.set(key, to)
    } else if (type === 'append-response') {
      // An answer of an earlier term may speak of entries that the leader of this one has cut off
      // before they were written. That is harmless: that leader was elected without them, so by
      // voters that had not taken them, and no quorum for them is left.
      const isKept = term < disk.hardState.term || index <= disk.storage.lastIndex()
      demand('AckIsDurable', isKept, `r${id} says that it has ${index}`)
    }
  }

  /** A machine has taken a step: an entry, or a whole snapshot. */
  checkMachine(id: ReplicaId, machine: MachineState): void {
    const isKnown = machine.applied <= this.ledger.committed
    demand('CommittedByLeader', isKnown, `r${id} applies ${machine.applied}, and no leader did`)
    this.ledger.noteState(id, machine)
  }
}
