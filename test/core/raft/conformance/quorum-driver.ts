// Directives about what a quorum agrees on. Besides the expected output each checks what must hold
// whatever the numbers are: both halves are alike, and a second way of counting says the same.

import { assert } from '../../../../src/base/assert.ts'
import {
  jointCommitted,
  jointVote,
  majorityCommitted,
  majorityOf,
  majorityVote
} from '../../../../src/core/raft/quorum.ts'
import type { Voters, VoteResult } from '../../../../src/core/raft/quorum.ts'
import type { Directive } from './data-file.ts'
import { DirectiveError, demandKnown, listOf, wholeNumber } from './directive.ts'

const RESULTS: Readonly<Record<VoteResult, string>> = {
  pending: 'VotePending',
  lost: 'VoteLost',
  won: 'VoteWon'
}

export function runQuorumDirective(directive: Directive): string {
  demandKnown(directive, ['cfg', 'cfgj', 'idx', 'votes'])
  const voters = parseVoters(directive)
  if (directive.command === 'committed') {
    const acked = assign(directive, 'idx', wholeNumber)
    const index = committed(voters, acked)
    return `${description(idsOf(voters), acked)}${index === Infinity ? '∞' : index}\n`
  }
  if (directive.command === 'vote') {
    const votes = assign(directive, 'votes', parseVote)
    return `${RESULTS[vote(voters, votes)]}\n`
  }
  throw new DirectiveError('unknown command')
}

/** `cfgj=zero`: joint, with nobody in the other half. */
function parseVoters(directive: Directive): Voters {
  const joint = listOf(directive, 'cfgj') ?? []
  return {
    incoming: ascending((listOf(directive, 'cfg') ?? []).map(wholeNumber)),
    outgoing: ascending((joint[0] === 'zero' ? [] : joint).map(wholeNumber))
  }
}

function ascending(ids: readonly number[]): number[] {
  return [...new Set(ids)].toSorted((a, b) => a - b)
}

function idsOf({ incoming, outgoing }: Voters): number[] {
  return ascending([...incoming, ...outgoing])
}

function parseVote(text: string): boolean {
  if (text !== 'y' && text !== 'n') throw new DirectiveError(`unknown vote: ${text}`)
  return text === 'y'
}

/** Gives each voter its value, in the order in which the voters are named; `_` gives none. */
function assign<T>(directive: Directive, key: string, parse: (text: string) => T): Map<number, T> {
  const values = listOf(directive, key) ?? []
  const joint = listOf(directive, 'cfgj') ?? []
  const named = [...(listOf(directive, 'cfg') ?? []), ...(joint[0] === 'zero' ? [] : joint)]
  const ids = [...new Set(named.map(wholeNumber))]
  if (values.length !== ids.length) {
    throw new DirectiveError(`${ids.length} voters and ${values.length} values in ${key}`)
  }
  const pairs = ids.map((id, place) => [id, values[place] as string] as const)
  return new Map(
    pairs.filter(([, text]) => text !== '_').map(([id, text]) => [id, parse(text)] as const)
  )
}

function committed(voters: Voters, acked: ReadonlyMap<number, number>): number {
  const { incoming, outgoing } = voters
  const of = (id: number): number | undefined => acked.get(id)
  const index = jointCommitted(voters, of)
  const swapped = jointCommitted({ incoming: outgoing, outgoing: incoming }, of)
  assert(swapped === index, `committed: ${index}, and ${swapped} with the halves swapped`)
  const counted = Math.min(countedCommit(incoming, of), countedCommit(outgoing, of))
  assert(counted === index, `committed: ${index}, and ${counted} by counting`)
  for (const half of [incoming, outgoing]) checkHalf(half, acked)
  return index
}

function checkHalf(half: readonly number[], acked: ReadonlyMap<number, number>): void {
  const of = (id: number): number | undefined => acked.get(id)
  const index = majorityCommitted(half, of)
  const alone = jointCommitted({ incoming: half, outgoing: [] }, of)
  assert(alone === index, `committed: ${index}, and ${alone} with an empty half`)
  const twice = jointCommitted({ incoming: half, outgoing: half }, of)
  assert(twice === index, `committed: ${index}, and ${twice} joint with itself`)
  for (const id of half) {
    const own = acked.get(id) ?? 0
    if (own >= index) continue
    // What is below the quorum's index already may be lower still.
    for (const less of [own - 1, 0]) {
      const lowered = majorityCommitted(half, (other) => (other === id ? less : of(other)))
      assert(lowered === index, `committed: ${index}, and ${lowered} with ${id} at ${less}`)
    }
  }
}

/** The definition itself: the highest index that enough voters have reached. */
function countedCommit(half: readonly number[], of: (id: number) => number | undefined): number {
  if (half.length === 0) return Infinity
  const reached = (index: number): number => half.filter((id) => (of(id) ?? 0) >= index).length
  const indexes = [0, ...half.map((id) => of(id) ?? 0)]
  return Math.max(...indexes.filter((index) => reached(index) >= majorityOf(half.length)))
}

function vote(voters: Voters, votes: ReadonlyMap<number, boolean>): VoteResult {
  const { incoming, outgoing } = voters
  const of = (id: number): boolean | undefined => votes.get(id)
  const result = jointVote(voters, of)
  const swapped = jointVote({ incoming: outgoing, outgoing: incoming }, of)
  assert(swapped === result, `vote: ${result}, and ${swapped} with the halves swapped`)
  for (const half of [incoming, outgoing]) {
    const own = majorityVote(half, of)
    const alone = jointVote({ incoming: half, outgoing: [] }, of)
    // Nobody's majority says yes at once, so a joint vote with it is that of the other half.
    assert(alone === own, `vote: ${own}, and ${alone} with an empty half`)
    const twice = jointVote({ incoming: half, outgoing: half }, of)
    assert(twice === own, `vote: ${own}, and ${twice} joint with itself`)
  }
  return result
}

/** A picture: the more voters are behind one, the longer its bar. */
function description(ids: readonly number[], acked: ReadonlyMap<number, number>): string {
  const count = ids.length
  if (count === 0) return '<empty majority quorum>'
  const indexOf = (id: number): number => acked.get(id) ?? 0
  const byIndex = ids.toSorted((a, b) => indexOf(a) - indexOf(b) || a - b)
  const bars = new Map<number, number>()
  for (const [place, id] of byIndex.entries()) {
    const before = byIndex[place - 1]
    const isAhead = before !== undefined && indexOf(id) > indexOf(before)
    bars.set(id, isAhead || before === undefined ? place : (bars.get(before) as number))
  }
  const lines = ids.map((id) => {
    const bar = bars.get(id) as number
    const picture = acked.has(id)
      ? `${'x'.repeat(bar)}>${' '.repeat(count - bar)}`
      : `?${' '.repeat(count)}`
    return `${picture} ${String(indexOf(id)).padStart(5)}    (id=${id.toString(16)})\n`
  })
  return `${' '.repeat(count)}    idx\n${lines.join('')}`
}
