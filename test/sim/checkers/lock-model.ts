// One lock with fencing tokens. That a lease runs out is an operation of its own whose outcome
// nobody knows, begun when it may first run out: it takes effect some time after that, or never.

import type { Operation } from './history.ts'
import type { Model } from './linearizability.ts'

/** An owner is one lease of a client: it holds a lock once at most, and comes never again. */
export type LockInput =
  | { readonly kind: 'acquire'; readonly owner: string }
  | { readonly kind: 'try-acquire'; readonly owner: string }
  | { readonly kind: 'release'; readonly owner: string }
  | { readonly kind: 'expire'; readonly owner: string }
  /** No operation of the lock: from when to when a client took itself for its holder. */
  | {
      readonly kind: 'held'
      readonly owner: string
      readonly token: number
      /** Milliseconds, by a clock that all clients share. */
      readonly fromMs: number
      readonly untilMs: number
    }

export type LockOutput = {
  /** Of an acquire, or a try that was granted; null when somebody else held the lock. */
  readonly token?: number | null
  /** Of a release: whether the owner held it until then. */
  readonly isReleased?: boolean
}

export type LockState = {
  /** Empty when nobody holds it. */
  readonly owner: string
  /** The last one given out, or a lower bound of it. */
  readonly token: number
}

export const lockModel: Model<LockState, LockInput, LockOutput> = {
  initial: { owner: '', token: 0 },

  step(state, { kind, owner }, output) {
    if (kind === 'held') return state
    if (kind === 'release' || kind === 'expire') {
      const isHolder = state.owner === owner
      if (output?.isReleased !== undefined && output.isReleased !== isHolder) return undefined
      return isHolder ? { ...state, owner: '' } : state
    }
    const token = output?.token
    if (state.owner !== '') {
      if (output === undefined) return state
      // Whoever asks again for what it holds may be told the same.
      const isSame = state.owner === owner && token === state.token
      return isSame || (kind === 'try-acquire' && token === null) ? state : undefined
    }
    if (output === undefined) return { owner, token: state.token + 1 }
    return typeof token === 'number' && token > state.token ? { owner, token } : undefined
  },

  identity: ({ owner, token }) => `${owner === '' ? 'nobody' : `"${owner}"`} with token ${token}`,

  describe: ({ kind, owner }, output) =>
    `${kind} as ${owner} → ${output === undefined ? 'nobody knows' : JSON.stringify(output)}`
}

type Holding = Extract<LockInput, { kind: 'held' }> & { readonly key: string }

/**
 * What must hold whatever the order: no token twice, and no two clients that take themselves for
 * the holder of one lock at the same time, by the times that they stamped.
 *
 * @returns what is wrong, in words
 */
export function lockProblems(operations: readonly Operation<LockInput, LockOutput>[]): string[] {
  const holdings = operations.flatMap(({ key, input }): Holding[] =>
    input.kind === 'held' ? [{ ...input, key }] : []
  )
  return [...Map.groupBy(holdings, ({ key }) => key).values()].flatMap(problemsOfLock)
}

function problemsOfLock(holdings: readonly Holding[]): string[] {
  const problems: string[] = []
  const sorted = holdings.toSorted((a, b) => a.fromMs - b.fromMs || a.token - b.token)
  for (const [place, one] of sorted.entries()) {
    for (const other of sorted.slice(place + 1)) {
      if (one.owner === other.owner && one.token === other.token) continue
      const both = `${one.owner} (token ${one.token}) and ${other.owner} (token ${other.token})`
      if (one.token === other.token) {
        problems.push(`Lock "${one.key}": ${both} have the same token`)
      }
      if (other.fromMs < one.untilMs) {
        const span = `${other.fromMs} to ${Math.min(one.untilMs, other.untilMs)} ms`
        problems.push(`Lock "${one.key}": ${both} hold it from ${span}`)
      }
    }
  }
  return problems
}
