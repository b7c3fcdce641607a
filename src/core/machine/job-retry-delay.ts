// How long a task that failed waits: "full jitter", anything from nothing to a bound that doubles,
// so that what failed together doesn't come back together. Every replica must draw the same, so the
// draw is a hash.

import { utf8 } from '../../base/bytes.ts'
import type { JobPolicy } from './job-policy.ts'

const DOUBLINGS_MAX = 30

/** @param of.failures from 1. @returns whole milliseconds */
export function retryDelayMs(
  { retryBaseMs, retryMaxMs }: Pick<JobPolicy, 'retryBaseMs' | 'retryMaxMs'>,
  of: { readonly space: Uint8Array; readonly task: number; readonly failures: number }
): number {
  const doublings = Math.min(of.failures - 1, DOUBLINGS_MAX)
  const boundMs = Math.min(retryMaxMs, retryBaseMs * 2 ** doublings)
  return hashOf(of.space, utf8(`/${of.task}/${of.failures}`)) % (boundMs + 1)
}

/** FNV-1a, then the finalizer of MurmurHash3, as in core/groups. @returns 0 to 2^32 - 1 */
function hashOf(...parts: readonly Uint8Array[]): number {
  let hash = 0x811c9dc5
  for (const part of parts) {
    for (const byte of part) hash = Math.imul(hash ^ byte, 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
