// What becomes of a replica that failed.

import type { ErrorCode } from '../base/errors.ts'

/**
 * `discard`: its disk lost some of it, and its group gives another replica.
 * `reopen`: it may go on in a while.
 * `keep`: this program can't read what it has, which may be a newer program's. All replicas of the
 * group may meet it, so nothing is thrown away.
 * `stop`: the disk can't be trusted any more, or the program; nothing is kept here from now on.
 */
export type AfterFailure = 'discard' | 'reopen' | 'keep' | 'stop'

export function afterFailure(code: ErrorCode): AfterFailure {
  switch (code) {
    case 'corrupt':
      return 'discard'
    case 'disk-full':
    case 'overloaded':
      return 'reopen'
    case 'invalid-data':
    case 'version-mismatch':
      return 'keep'
    default:
      return 'stop'
  }
}
