// The names of one volume: each has a file, and moves are atomic. The whole volume is one state,
// so a history of it has to be short.

import type { Model } from './linearizability.ts'

export type NamesInput =
  /** Gives a name to a file; refused where the name is taken, unless it may be replaced. */
  | {
      readonly kind: 'put'
      readonly path: string
      readonly file: string
      readonly isReplacing: boolean
    }
  /** Refused where the new name is taken. */
  | { readonly kind: 'mv'; readonly from: string; readonly to: string }
  | { readonly kind: 'rm'; readonly path: string }
  | { readonly kind: 'stat'; readonly path: string }

export type NamesOutput =
  | { readonly kind: 'done' }
  | { readonly kind: 'exists' }
  | { readonly kind: 'not-found' }
  /** Of a stat. */
  | { readonly kind: 'file'; readonly file: string }

export type NamesState = ReadonlyMap<string, string>

export const namesModel: Model<NamesState, NamesInput, NamesOutput> = {
  initial: new Map(),

  step(state, input, output) {
    const { told, next } = perform(state, input)
    if (output === undefined) return next
    return JSON.stringify(told) === JSON.stringify(inOrder(output)) ? next : undefined
  },

  identity: (state) =>
    JSON.stringify([...state].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))),

  describe(input, output) {
    const { kind, ...rest } = input
    const told = output === undefined ? 'nobody knows' : Object.values(output).join(' ')
    return `${kind} ${Object.values(rest).join(' ')} → ${told}`
  }
}

/** The same order of fields, whoever wrote the output down. */
const inOrder = (output: NamesOutput): NamesOutput =>
  output.kind === 'file' ? { kind: 'file', file: output.file } : { kind: output.kind }

function perform(
  state: NamesState,
  input: NamesInput
): { readonly told: NamesOutput; readonly next: NamesState } {
  const refuse = (kind: 'exists' | 'not-found') => ({ told: { kind }, next: state }) as const
  switch (input.kind) {
    case 'put':
      if (state.has(input.path) && !input.isReplacing) return refuse('exists')
      return { told: { kind: 'done' }, next: new Map(state).set(input.path, input.file) }
    case 'mv': {
      const file = state.get(input.from)
      if (file === undefined) return refuse('not-found')
      if (input.from === input.to) return { told: { kind: 'done' }, next: state }
      if (state.has(input.to)) return refuse('exists')
      const next = new Map(state).set(input.to, file)
      next.delete(input.from)
      return { told: { kind: 'done' }, next }
    }
    case 'rm': {
      if (!state.has(input.path)) return refuse('not-found')
      const next = new Map(state)
      next.delete(input.path)
      return { told: { kind: 'done' }, next }
    }
    case 'stat': {
      const file = state.get(input.path)
      return file === undefined
        ? refuse('not-found')
        : { told: { kind: 'file', file }, next: state }
    }
  }
}
