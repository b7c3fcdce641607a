// Which events a change of a member is.

import type { MemberEventKind } from './effects.ts'
import { compareContents, isTerminal } from './member.ts'
import type { Member, MemberState } from './member.ts'

/** How bad things look: what takes a member down this row is news, what takes it up a recovery. */
const DECLINE: readonly MemberState[] = ['alive', 'suspect', 'dead', 'gone']

/** @returns the events of a change, in the order in which they are told. */
export function memberEvents(before: Member | undefined, after: Member): MemberEventKind[] {
  if (isTerminal(after.state)) return terminalEvents(before, after)
  const kinds: MemberEventKind[] = []
  if (before === undefined || before.state === 'left') kinds.push('joined')
  else if (DECLINE.indexOf(after.state) < DECLINE.indexOf(before.state)) kinds.push('recovered')
  else if (compareContents(before.record, after.record) !== 0) kinds.push('changed')
  if (before?.state !== after.state) {
    if (after.state === 'suspect') kinds.push('suspected')
    if (after.state === 'dead') kinds.push('dead')
  }
  return kinds
}

/** The tombstone of a member that this node never knew is no event: nothing ends here. */
function terminalEvents(before: Member | undefined, after: Member): MemberEventKind[] {
  if (before === undefined || before.state === after.state) return []
  return [after.state as MemberEventKind]
}
