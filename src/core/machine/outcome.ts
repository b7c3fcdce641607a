// What goes into a machine, and what became of it.

import type { MeshError } from '../../base/errors.ts'
import type { Answer } from './command.ts'
import type { RevisionEvents } from './transaction.ts'

/** A committed entry of the log. */
export type LogEntry = {
  readonly index: number
  readonly term: number
  /** A command; empty for entries that are Raft's own. */
  readonly bytes: Uint8Array
}

/** What became of an entry. */
export type Outcome =
  | {
      readonly kind: 'applied'
      readonly index: number
      /** For the proposer; undefined for an entry without a command. */
      readonly answer: Answer | undefined
      /** The answer of the first time; nothing was done now. */
      readonly isRepeated: boolean
      /** For those who watch, in the order of revisions: leases that ended, then the command. */
      readonly changes: readonly RevisionEvents[]
    }
  /** The state has it already: it was delivered again after a restart. */
  | { readonly kind: 'skipped'; readonly index: number }
  /**
   * This program can't apply it and others may: going on would make this replica differ from them.
   * Nothing of it is in the state, and nothing will be applied any more. The driver stops the
   * replica, with the code version-mismatch; a newer program goes on from here.
   */
  | { readonly kind: 'halted'; readonly index: number; readonly error: MeshError }
