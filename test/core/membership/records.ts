// Records and updates for the tests.

import { peerId, sessionId, storeId } from '../../../src/base/ids.ts'
import type { SessionId } from '../../../src/base/ids.ts'
import { GIB } from '../../../src/base/units.ts'
import type {
  MemberRecord,
  MemberState,
  MemberUpdate
} from '../../../src/core/membership/member.ts'

/** @returns the session of that number. */
export function session(number: number): SessionId {
  return sessionId(number.toString(16).padStart(16, '0'))
}

export function record(name: string, changes: Partial<MemberRecord> = {}): MemberRecord {
  return {
    peerId: peerId(name),
    incarnation: 1,
    session: session(1),
    storeId: storeId('0'.repeat(32)),
    revision: 1,
    name,
    zone: 'home',
    capacityBytes: GIB,
    labels: [['arch', 'arm64']],
    addresses: [`/ip4/10.0.0.1/tcp/4001`],
    status: 'up',
    ...changes
  }
}

/** @returns an update about `about`; `from` is its peer unless named. */
export function update(about: MemberRecord, state: MemberState, from?: string): MemberUpdate {
  return { record: about, state, from: from === undefined ? about.peerId : peerId(from) }
}
