// The short form of a change of members: `v1 l2 r3 u4` adds a voter and a learner, removes, updates.

import type { ConfigChangeStep } from '../../../../src/core/raft/messages.ts'
import { DirectiveError, wholeNumber } from './directive.ts'

const TYPES: Readonly<Record<string, ConfigChangeStep['type']>> = {
  v: 'add-voter',
  l: 'add-learner',
  r: 'remove',
  u: 'update'
}

export function parseSteps(input: string): ConfigChangeStep[] {
  const tokens = input.trim().split(/\s+/)
  return tokens.filter((token) => token !== '').map(parseStep)
}

function parseStep(token: string): ConfigChangeStep {
  if (token.length < 2) throw new DirectiveError(`unknown token ${token}`)
  const type = TYPES[token[0] as string]
  if (type === undefined) throw new DirectiveError(`unknown input: ${token}`)
  return { type, id: wholeNumber(token.slice(1)) }
}

export function stepsText(steps: readonly ConfigChangeStep[]): string {
  const letters = Object.fromEntries(Object.entries(TYPES).map(([letter, type]) => [type, letter]))
  return steps.map(({ type, id }) => `${letters[type]}${id}`).join(' ')
}
