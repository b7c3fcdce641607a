// What a record or an update must fulfil to be believed. Everything from outside passes here.

import { compareText } from '../../base/ids.ts'
import {
  ADDRESS_COUNT_MAX,
  ADDRESS_LENGTH_MAX,
  CAPACITY_BYTES_MAX,
  LABEL_COUNT_MAX,
  LABEL_LENGTH_MAX,
  NAME_LENGTH_MAX,
  ZONE_LENGTH_MAX
} from '../../base/limits.ts'
import { INCARNATION_MAX, REVISION_MAX } from './member.ts'
import type { MemberRecord, MemberUpdate } from './member.ts'

/** Why an update was refused. */
export type UpdateProblem = 'incarnation' | 'revision' | 'record' | 'status'

function isWholeIn(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max
}

function areLabelsSound(labels: MemberRecord['labels']): boolean {
  if (labels.length > LABEL_COUNT_MAX) return false
  return labels.every(
    ([key, value], index) =>
      key.length <= LABEL_LENGTH_MAX &&
      value.length <= LABEL_LENGTH_MAX &&
      (index === 0 || compareText((labels[index - 1] as readonly [string, string])[0], key) < 0)
  )
}

/** @returns what is wrong with a record, or undefined. */
export function recordProblem(record: MemberRecord): UpdateProblem | undefined {
  if (!isWholeIn(record.incarnation, 1, INCARNATION_MAX)) return 'incarnation'
  if (!isWholeIn(record.revision, 1, REVISION_MAX)) return 'revision'
  const isSound =
    isWholeIn(record.capacityBytes, 0, CAPACITY_BYTES_MAX) &&
    record.name.length <= NAME_LENGTH_MAX &&
    record.zone.length <= ZONE_LENGTH_MAX &&
    record.addresses.length <= ADDRESS_COUNT_MAX &&
    record.addresses.every((address) => address.length <= ADDRESS_LENGTH_MAX) &&
    areLabelsSound(record.labels)
  return isSound ? undefined : 'record'
}

/** @returns what is wrong with an update, or undefined. */
export function updateProblem(update: MemberUpdate): UpdateProblem | undefined {
  const { record, state } = update
  // `left` is the member's own word: the state and the status come together, but for an eviction.
  const agrees = state === 'evicted' || (state === 'left') === (record.status === 'left')
  return agrees ? recordProblem(record) : 'status'
}
