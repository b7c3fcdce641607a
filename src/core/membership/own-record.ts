// This node's own record: how it answers what others say of it. Only this node raises its
// incarnation (SWIM, section 4.2), and it does so whenever other news about it would win.

import { MeshError } from '../../base/errors.ts'
import type { SessionId } from '../../base/ids.ts'
import type { SelfChange } from './effects.ts'
import {
  compareContents,
  compareUpdates,
  INCARNATION_MAX,
  isTerminal,
  revisionFor,
  samePlacement,
  updateVersion
} from './member.ts'
import type { MemberRecord, MemberState, MemberStatus, MemberUpdate } from './member.ts'
import { recordProblem } from './record-check.ts'

export type Answer =
  /** Older than what this node says, or nothing that others would prefer. */
  | { readonly kind: 'none' }
  | { readonly kind: 'evicted' }
  /** Nothing is above the accusation: a forger has used up the last incarnation. */
  | { readonly kind: 'exhausted' }
  /** The record was raised. `isAccused` when this very session was called unreachable. */
  | {
      readonly kind: 'raised'
      readonly isAccused: boolean
      /** Set once, when another running session has shown itself. */
      readonly clone: SessionId | undefined
    }

const NONE: Answer = { kind: 'none' }

/**
 * Two nodes with one identity (a copied data folder) each see records of themselves from a session
 * that isn't theirs. So does a node after a restart, when news of its last session still goes
 * round, in any number of versions. The two are told apart by proof: a record that is raised above
 * another session names it as its `rival`. Sessions are drawn at each start, so only a node that
 * runs *now* can name the session that runs here: the first record of another session whose rival
 * is this session is a clone's. Old news never names it. This node then raises its record once
 * more, naming the other one, so that the clone learns of it too; and gives up fighting.
 */
export class OwnRecord {
  #record: MemberRecord
  #isCloned = false

  /** @throws invalid-argument for a record that others would refuse. */
  constructor(record: MemberRecord) {
    const problem = record.status === 'left' ? 'status' : recordProblem(record)
    if (problem !== undefined) {
      throw new MeshError('invalid-argument', `Cannot be a member: own ${problem} is out of range`)
    }
    this.#record = record
  }

  get record(): MemberRecord {
    return this.#record
  }

  /** What this node says of itself: `left` or `alive`. */
  get state(): MemberState {
    return this.#record.status === 'left' ? 'left' : 'alive'
  }

  /** Decides on an update about this node that has passed `updateProblem`. */
  answer(update: MemberUpdate): Answer {
    if (update.state === 'evicted') return { kind: 'evicted' }
    const heard = update.record
    const isOther = heard.session !== this.#record.session
    const isProof = isOther && heard.rival === this.#record.session
    if (this.#isCloned && isOther) return NONE
    const mine = { record: this.#record, state: this.state }
    // A tombstone has lost its addresses and labels; that alone is no other opinion.
    const isEcho =
      isTerminal(this.state) && update.state === this.state && isSameBut(heard, this.#record)
    const isHigher = compareUpdates(update, mine) > 0 && !isEcho
    if (!isProof && !isHigher && updateVersion(update) <= updateVersion(mine)) return NONE
    if (Math.max(this.#record.incarnation, heard.incarnation) >= INCARNATION_MAX) {
      return { kind: 'exhausted' }
    }
    this.#isCloned ||= isProof
    this.#raiseAbove(update, isOther)
    const isAccused = !isOther && (update.state === 'suspect' || update.state === 'dead')
    return { kind: 'raised', isAccused, clone: isProof ? heard.session : undefined }
  }

  /**
   * @returns whether anything changed.
   * @throws invalid-argument for a change that others would refuse.
   */
  change(change: SelfChange): boolean {
    const next = { ...this.#record, ...change }
    if (compareContents(next, this.#record) === 0) return false
    const problem = recordProblem(next)
    if (problem !== undefined) {
      throw new MeshError(
        'invalid-argument',
        `Cannot change own record: a field is longer or larger than its limit, or labels aren't sorted`
      )
    }
    return this.#raise(next)
  }

  /** @returns whether that is a change. A status only goes on: up, leaving, left. */
  changeStatus(status: MemberStatus): boolean {
    if (this.#record.status === status || this.#record.status === 'left') return false
    return this.#raise({ ...this.#record, status })
  }

  #raise(next: MemberRecord): boolean {
    if (this.#record.incarnation >= INCARNATION_MAX) return false
    const revision = this.#record.revision + Number(!samePlacement(next, this.#record))
    this.#record = { ...next, revision, incarnation: this.#record.incarnation + 1 }
    return true
  }

  #raiseAbove(update: MemberUpdate, isOther: boolean): void {
    const mine = this.#record
    const heard = update.record
    const version = Math.max(
      updateVersion({ record: mine, state: this.state }),
      updateVersion(update)
    )
    const revision = revisionFor(version, this.state)
    // Others may place by what they heard at that revision: saying otherwise takes a higher one.
    const isContested = revision <= heard.revision && !samePlacement(mine, heard)
    const raised = {
      ...mine,
      incarnation: Math.max(mine.incarnation, heard.incarnation) + 1,
      revision: revision + Number(isContested)
    }
    this.#record = isOther ? { ...raised, rival: heard.session } : raised
  }
}

function isSameBut(heard: MemberRecord, mine: MemberRecord): boolean {
  return heard.incarnation === mine.incarnation && heard.session === mine.session
}
