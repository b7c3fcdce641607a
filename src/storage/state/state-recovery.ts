// What a medium has: which groups there are, and what a crash left that is nobody's. (D-14, D-15)

import { MeshError, isMeshError } from '../../base/errors.ts'
import type { StateGroupId } from '../state-store.ts'
import type { StateMedium } from './state-medium.ts'
import {
  GROUP_KEYS,
  STATE_FORMAT,
  STORE_KEY,
  addToSum,
  decodeGroupRecord,
  decodeStoreRecord,
  groupOfKey,
  slotOfPair,
  slotsFrom,
  storeRecord,
  type GroupRecord
} from './state-record.ts'

type RecoveredGroup = {
  readonly id: StateGroupId
  readonly record: GroupRecord | undefined
  readonly damage: MeshError | undefined
}

export type RecoveredState = {
  readonly groups: readonly RecoveredGroup[]
  /** Of installs that didn't end, and of states that were replaced or dropped. */
  readonly strayPairSlots: readonly number[]
  readonly nextSlot: number
  /** Its pairs are known to be all there and right. */
  readonly isKnown: boolean
  /** A group may have been here that isn't any more. */
  readonly isIncomplete: boolean
}

/**
 * Opens a medium, reads it, and writes to it once, which shows that it can be written.
 * @throws folder-too-new, disk-full, storage-failed
 */
export async function openMedium(medium: StateMedium): Promise<RecoveredState> {
  const { wasSetAside, isKnown } = await medium.open()
  try {
    const found = await readAndWrite(medium)
    return { ...found, isKnown, isIncomplete: wasSetAside || found.isIncomplete }
  } catch (error) {
    await medium.close()
    throw error
  }
}

async function readAndWrite(medium: StateMedium): Promise<Omit<RecoveredState, 'isKnown'>> {
  const found = recoverState(medium)
  try {
    await medium.write([storeRecord(found.groups.map(({ id }) => id))])
    return found
  } catch (error) {
    if (!isMeshError(error, 'corrupt')) throw error
    // It can be read and takes nothing more: of no use, and the groups can be rebuilt.
    await medium.setAside(error.message)
    const empty = recoverState(medium)
    await medium.write([storeRecord([])])
    return { ...empty, isIncomplete: true }
  }
}

function recoverState(medium: StateMedium): Omit<RecoveredState, 'isKnown'> {
  const storeRecord = readStoreRecord(medium)
  const { found, isBroken } = readGroupRecords(medium)
  const groups: RecoveredGroup[] = []
  let groupSum = 0
  let nextSlot = 0
  for (const { id, record } of found) {
    groupSum = addToSum(groupSum, id + 1)
    nextSlot = Math.max(nextSlot, (record?.slot ?? -1) + 1)
    const reason = record === undefined ? 'its record is damaged' : undefined
    const damage = reason === undefined ? undefined : new MeshError('corrupt', reason)
    groups.push({ id, record, damage })
  }
  const stray = findStraySlots(medium, new Set(found.map(({ record }) => record?.slot)))
  for (const slot of stray.slots) nextSlot = Math.max(nextSlot, slot + 1)
  const fits =
    storeRecord === undefined
      ? groups.length === 0 && stray.slots.length === 0
      : storeRecord !== 'damaged' &&
        storeRecord.groupCount === found.length &&
        storeRecord.groupSum === groupSum
  const isIncomplete = isBroken || !fits
  return { groups, strayPairSlots: stray.slots, nextSlot, isIncomplete }
}

/** Nothing is changed for a format that isn't known. (D-11) */
function readStoreRecord(medium: StateMedium): ReturnType<typeof decodeStoreRecord> | 'damaged' {
  const value = orDamaged(() => medium.get(STORE_KEY))
  if (value === undefined || value === 'damaged') return value
  const record = decodeStoreRecord(value)
  if (record === undefined) return 'damaged'
  if (record.format <= STATE_FORMAT) return record
  const message = `Cannot open the state: its format ${record.format} is newer than this program`
  throw new MeshError('folder-too-new', `${message} knows (${STATE_FORMAT}); update the program`)
}

type FoundRecord = { readonly id: StateGroupId; readonly record: GroupRecord | undefined }

function readGroupRecords(medium: StateMedium): { found: FoundRecord[]; isBroken: boolean } {
  const found = new Map<StateGroupId, FoundRecord>()
  const end = orDamaged(() => {
    for (const { key, value } of medium.range(GROUP_KEYS)) {
      const id = groupOfKey(key)
      if (id !== undefined) found.set(id, { id, record: decodeGroupRecord(key, value) })
    }
  })
  return { found: [...found.values()], isBroken: end === 'damaged' }
}

function findStraySlots(
  medium: StateMedium,
  known: ReadonlySet<number | undefined>
): { slots: number[] } {
  const slots: number[] = []
  let slot = 0
  for (;;) {
    const next = orDamaged(() => [...medium.range(slotsFrom(slot))][0])
    if (next === undefined || next === 'damaged') return { slots }
    const found = slotOfPair(next.key)
    if (found < slot) return { slots }
    if (!known.has(found)) slots.push(found)
    slot = found + 1
  }
}

function orDamaged<T>(read: () => T): T | 'damaged' {
  try {
    return read()
  } catch (error) {
    if (error instanceof MeshError && error.code === 'corrupt') return 'damaged'
    throw error
  }
}
