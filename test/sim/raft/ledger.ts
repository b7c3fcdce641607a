// What is known of the group as a whole: every entry that ever stood in a log, what was committed,
// in which terms, and what the state machine is after each index.

import { equalBytes } from '../../../src/base/bytes.ts'
import type { ConfigState, Entry, ReplicaId, Snapshot } from '../../../src/core/raft/messages.ts'
import type { MachineState } from './machine.ts'
import { configInWords } from './quorum.ts'
import { Violation, demand } from './violation.ts'

/** Terms and indexes of a run stay far below this. */
const INDEX_SPAN = 2 ** 24

type Known = { readonly entry: Entry; readonly previousTerm: number | undefined }

/** The last commit of a leader: what must be durable on a quorum of these members from now on. */
export type QuorumClaim = {
  readonly index: number
  readonly term: number
  readonly config: ConfigState
}

export class Ledger {
  readonly #entries = new Map<number, Known>()
  /** The term of each committed entry; `#base` is the last index before the first. */
  readonly #terms: number[] = []
  readonly #base: number
  readonly #states = new Map<number, { readonly hash: number; readonly config: string }>()
  readonly #leaders = new Map<number, ReplicaId>()
  /** Ascending terms, and the highest index that a leader of that term or an earlier committed. */
  readonly #commits: { term: number; index: number }[] = []
  claim: QuorumClaim | undefined

  /** @param founding what all first members start from */
  constructor({ index, term }: Snapshot) {
    this.#base = index
    this.#terms.push(term)
    this.#commits.push({ term, index })
  }

  /** The highest index that some leader has committed. */
  get committed(): number {
    return this.#base + this.#terms.length - 1
  }

  /** @returns the term of a committed entry; undefined when it isn't. */
  termOf(index: number): number | undefined {
    return this.#terms[index - this.#base]
  }

  entry(index: number): Entry | undefined {
    const term = this.termOf(index)
    return term === undefined ? undefined : this.#entries.get(keyOf(index, term))?.entry
  }

  /**
   * LogMatching: if two logs have an entry with the same index and term, they are equal up to it.
   * By induction it is enough that this entry and the term of the one before are equal.
   */
  noteEntry(id: ReplicaId, entry: Entry, previousTerm: number | undefined): void {
    const key = keyOf(entry.index, entry.term)
    const known = this.#entries.get(key)
    if (known === undefined) {
      this.#entries.set(key, { entry, previousTerm })
      return
    }
    if (known.entry !== entry && !isSameEntry(known.entry, entry)) {
      throw new Violation('LogMatching', `r${id} has another entry ${entry.index}/t${entry.term}`)
    }
    if (known.previousTerm === undefined) {
      this.#entries.set(key, { entry: known.entry, previousTerm })
    } else if (previousTerm !== undefined && previousTerm !== known.previousTerm) {
      const found = `${entry.index}/t${entry.term} follows term ${previousTerm} at r${id}`
      throw new Violation('LogMatching', `${found}, and ${known.previousTerm} elsewhere`)
    }
  }

  /** ElectionSafety: one leader for each term. */
  noteLeader(id: ReplicaId, term: number): void {
    const known = this.#leaders.get(term)
    const isOnly = known === undefined || known === id
    demand('ElectionSafety', isOnly, `r${id} and r${known} lead term ${term}`)
    this.#leaders.set(term, id)
  }

  /** LogInv: what is committed at one index is the same everywhere and for ever. */
  noteCommitted(id: ReplicaId, index: number, term: number): void {
    const known = this.termOf(index)
    if (known === undefined) {
      demand('CommittedByLeader', index === this.committed + 1, `r${id} leaves a gap at ${index}`)
      this.#terms.push(term)
    } else if (known !== term) {
      throw new Violation('LogInv', `r${id} committed ${index}/t${term}, others ${index}/t${known}`)
    }
  }

  /** A leader of `term` has committed everything up to `index`. */
  noteCommit(term: number, index: number): void {
    const commits = this.#commits
    let place = commits.length
    while (place > 0 && (commits[place - 1] as { term: number }).term >= term) place -= 1
    const before = place === 0 ? 0 : (commits[place - 1] as { index: number }).index
    const here = commits[place]
    if (here?.term === term) here.index = Math.max(here.index, index)
    else commits.splice(place, 0, { term, index: Math.max(before, index) })
    for (const later of commits.slice(place)) later.index = Math.max(later.index, index)
  }

  /** @returns the highest index that leaders of terms below `term` have committed. */
  committedBefore(term: number): number {
    for (let place = this.#commits.length - 1; place >= 0; place--) {
      const commit = this.#commits[place] as { term: number; index: number }
      if (commit.term < term) return commit.index
    }
    return 0
  }

  /**
   * StateMachineSafety: after the same index every machine shows the same, whichever way it came
   * there; and every replica has the same members.
   */
  noteState(id: ReplicaId, { applied, hash, configState }: MachineState): void {
    const config = configInWords(configState)
    const known = this.#states.get(applied)
    if (known === undefined) {
      this.#states.set(applied, { hash, config })
      return
    }
    const isSame = known.hash === hash
    demand('StateMachineSafety', isSame, `r${id} shows something else after ${applied}`)
    if (known.config !== config) {
      const detail = `r${id} has ${config} after ${applied}, others ${known.config}`
      throw new Violation('SameMembers', detail)
    }
  }
}

function keyOf(index: number, term: number): number {
  return term * INDEX_SPAN + index
}

function isSameEntry(a: Entry, b: Entry): boolean {
  if (a.type === 'normal') return b.type === 'normal' && equalBytes(a.data, b.data)
  if (b.type === 'normal') return false
  return JSON.stringify(a.change.steps) === JSON.stringify(b.change.steps)
}
