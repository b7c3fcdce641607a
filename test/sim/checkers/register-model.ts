// One key of a store: reads, writes, deletes and compare-and-set, with the versions that writes get
// where they are known. Versions only grow; they need not be dense.

import type { Model } from './linearizability.ts'

export type RegisterInput =
  | { readonly kind: 'read' }
  | { readonly kind: 'write'; readonly value: string }
  | { readonly kind: 'delete' }
  /** Writes `value` if the key has `expected`; null: if it isn't there. */
  | { readonly kind: 'cas'; readonly expected: string | null; readonly value: string }
  /** Writes `value` if the key's last change has this version; 0: if it isn't there. */
  | { readonly kind: 'cas-version'; readonly expected: number; readonly value: string }

/** `version` where the client was told: of the write that was done, or that a read saw. */
export type RegisterOutput = {
  /** Of a read; null when the key isn't there. */
  readonly value?: string | null
  /** Of a delete, whether there was something; of a compare-and-set, whether it was done. */
  readonly isDone?: boolean
  readonly version?: number
}

export type RegisterState = {
  readonly value: string | null
  /** Of the last change, or a lower bound of it. */
  readonly version: number
  readonly isExact: boolean
}

export const registerModel: Model<RegisterState, RegisterInput, RegisterOutput> = {
  initial: { value: null, version: 0, isExact: true },

  step(state, input, output) {
    switch (input.kind) {
      case 'read':
        return output === undefined ? state : read(state, output)
      case 'write':
        return change(state, input.value, output?.version)
      case 'delete': {
        const isThere = state.value !== null
        if (output?.isDone !== undefined && output.isDone !== isThere) return undefined
        return isThere ? change(state, null, output?.version) : state
      }
      case 'cas': {
        const isEqual = state.value === input.expected
        if (output?.isDone !== undefined && output.isDone !== isEqual) return undefined
        return isEqual ? change(state, input.value, output?.version) : state
      }
      case 'cas-version':
        return changeVersion(state, input, output)
    }
  },

  identity: ({ value, version, isExact }) =>
    `${value === null ? 'nothing' : JSON.stringify(value)} of version ${isExact ? '' : '≥ '}${version}`,

  describe(input, output) {
    const told = output === undefined ? 'nobody knows' : JSON.stringify(output)
    const { kind, ...rest } = input
    const details = Object.values(rest).map((value) => JSON.stringify(value))
    return `${[kind, ...details].join(' ')} → ${told}`
  }
}

function read(state: RegisterState, { value, version }: RegisterOutput): RegisterState | undefined {
  if (value !== undefined && value !== state.value) return undefined
  // What isn't there has no version that a client could be told.
  if (version === undefined || state.value === null) return state
  return fits(state, version) ? { ...state, version, isExact: true } : undefined
}

/** Whether the last change may have this version. */
function fits(state: RegisterState, version: number): boolean {
  return state.isExact ? state.version === version : version >= state.version
}

function change(
  state: RegisterState,
  value: string | null,
  version: number | undefined
): RegisterState | undefined {
  if (version === undefined) return { value, version: state.version + 1, isExact: false }
  return version > state.version ? { value, version, isExact: true } : undefined
}

function changeVersion(
  state: RegisterState,
  { expected, value }: { readonly expected: number; readonly value: string },
  output: RegisterOutput | undefined
): RegisterState | undefined {
  const isThere = state.value !== null
  const mayFit = expected === 0 ? !isThere : isThere && fits(state, expected)
  const mayDiffer = expected === 0 ? isThere : !isThere || !fits(state, expected) || !state.isExact
  const known = isThere && expected !== 0 ? { ...state, version: expected, isExact: true } : state
  if (output?.isDone === true) return mayFit ? change(known, value, output.version) : undefined
  if (output?.isDone === false) return mayDiffer ? state : undefined
  return mayFit ? change(known, value, undefined) : state
}
