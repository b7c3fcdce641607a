// Reading all of a medium once: which groups there are, whose pairs are all there and right, and
// what a crash left that is nobody's. (D-14, D-15)

import { MeshError, isMeshError } from '../../base/errors.ts'
import { compareBytes } from '../../core/machine/ordered-state.ts'
import type { StateGroupId } from '../state-store.ts'
import type { StateMedium } from './state-medium.ts'
import { GROUP_KEYS, STATE_FORMAT, STORE_KEY, addToSum, decodeGroupRecord } from './state-record.ts'
import {
  decodeStoreRecord,
  groupOfKey,
  slotOfPair,
  slotRange,
  slotsFrom,
  storeRecord
} from './state-record.ts'
import { sumOf, unseal, type GroupRecord } from './state-record.ts'

/** Pairs read before others may run. */
const PAIRS_PER_TURN = 2_048

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
  /** A group may have been here that isn't any more. */
  readonly isIncomplete: boolean
}

/**
 * Opens a medium, reads it, and writes to it once, which shows that it can be written.
 * @throws folder-too-new, disk-full, storage-failed
 */
export async function openMedium(medium: StateMedium): Promise<RecoveredState> {
  const { wasSetAside } = await medium.open()
  try {
    const found = await readAndWrite(medium)
    return { ...found, isIncomplete: wasSetAside || found.isIncomplete }
  } catch (error) {
    await medium.close()
    throw error
  }
}

async function readAndWrite(medium: StateMedium): Promise<RecoveredState> {
  const found = await recoverState(medium)
  try {
    await medium.write([storeRecord(found.groups.map(({ id }) => id))])
    return found
  } catch (error) {
    if (!isMeshError(error, 'corrupt')) throw error
    // It can be read and takes nothing more: of no use, and the groups can be rebuilt.
    await medium.setAside(error.message)
    const empty = await recoverState(medium)
    await medium.write([storeRecord([])])
    return { ...empty, isIncomplete: true }
  }
}

async function recoverState(medium: StateMedium): Promise<RecoveredState> {
  const storeRecord = readStoreRecord(medium)
  const { found, isBroken } = readGroupRecords(medium)
  const groups: RecoveredGroup[] = []
  let groupSum = 0
  let nextSlot = 0
  for (const { id, record } of found) {
    groupSum = addToSum(groupSum, id + 1)
    nextSlot = Math.max(nextSlot, (record?.slot ?? -1) + 1)
    const reason = record === undefined ? 'its record is damaged' : await check(medium, record)
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

/** @returns what is wrong with a state. */
async function check(medium: StateMedium, record: GroupRecord): Promise<string | undefined> {
  let pairCount = 0
  let pairSum = 0
  let last: Uint8Array | undefined
  try {
    for (const { key, value } of medium.range(slotRange(record.slot))) {
      if (unseal(key, value) === undefined) return 'a pair fails its checksum'
      if (last !== undefined && compareBytes(last, key) >= 0) return 'its pairs are out of order'
      // What leads to a pair may be damaged although all pairs are there.
      if (medium.get(key)?.length !== value.length) return 'a pair cannot be found by its key'
      last = key
      pairCount += 1
      pairSum = addToSum(pairSum, sumOf(value))
      if (pairCount % PAIRS_PER_TURN === 0) await medium.turn()
    }
  } catch (error) {
    if (error instanceof MeshError && error.code === 'corrupt') return error.message
    throw error
  }
  const isRight = pairCount === record.pairCount && pairSum === record.pairSum
  return isRight ? undefined : `it has ${pairCount} pairs, not the ${record.pairCount} it had`
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
