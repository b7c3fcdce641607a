// Files without a name, and the trash: what keeps blocks besides names, and gives them back.

import { equalBytes } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { decode, encode, flag, nothing, record, uint } from './codec.ts'
import { checkCycle, noteRelease } from './file-collection.ts'
import { checkCid } from './file-operations.ts'
import {
  cidBytes,
  entriesSpan,
  inodeKey,
  inodeOfKey,
  nodeEntryCodec,
  pinCodec,
  volumeSpan
} from './file-records.ts'
import { FILE_REAP_COUNT_MAX } from './limits.ts'
import type { Operation } from './operation.ts'
import type { Entry } from './records.ts'
import { checkSpace, shown } from './space.ts'
import { AREAS } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

const NO_BYTES = new Uint8Array(0)

export type PinArgs = {
  readonly cid: Uint8Array
  /** Length of the file. */
  readonly bytes: number
  /** See {@link checkCycle}. */
  readonly cycle: number
}

/**
 * Keeps a file that has no name. The space of the request is the CID as text. Pinning what is pinned
 * changes nothing. Refuses with conflict (`cycle`), invalid-argument, quota-exceeded.
 */
export const PIN: Operation<PinArgs, undefined> = {
  name: 'file.pin',
  version: 1,
  args: record<PinArgs>({ cid: cidBytes, bytes: uint, cycle: uint }),
  result: nothing,
  apply: (transaction, { cid, bytes, cycle }) => {
    const { space, timeMs } = transaction
    checkSpace(space)
    checkCid(cid)
    checkCycle(transaction, cycle)
    const known = transaction.get(AREAS['file-pin'], space)
    if (known !== undefined) {
      if (equalBytes(decode(pinCodec, known.value).cid, cid)) return undefined
      throw new MeshError('invalid-argument', `Space "${shown(space)}" is of another CID`)
    }
    const value = encode(pinCodec, { cid, bytes, createdMs: timeMs })
    transaction.put(AREAS['file-pin'], space, { value })
    return undefined
  }
}

/** Lets go of a file without a name. Refuses with not-found when it isn't pinned. */
export const UNPIN: Operation<undefined, undefined> = {
  name: 'file.unpin',
  version: 1,
  args: nothing,
  result: nothing,
  isFreeing: true,
  apply: (transaction) => {
    const { space } = transaction
    checkSpace(space)
    if (!transaction.delete(AREAS['file-pin'], space)) {
      const problem = `${shown(space)} is not kept as a file without a name`
      throw new MeshError('not-found', `Cannot remove it: ${problem}`)
    }
    noteRelease(transaction)
    return undefined
  }
}

export type ReapArgs = { /** Entries at most, 1 to 1000. */ readonly limit: number }

/**
 * Gives back some of a volume's trash. @returns whether there is more. Refuses with
 * invalid-argument.
 */
export const REAP: Operation<ReapArgs, { readonly hasMore: boolean }> = {
  name: 'file.reap',
  version: 1,
  args: record<ReapArgs>({ limit: uint }),
  result: record<{ readonly hasMore: boolean }>({ hasMore: flag }),
  isFreeing: true,
  apply: (transaction, { limit }) => {
    if (limit < 1 || limit > FILE_REAP_COUNT_MAX) {
      const problem = `limit is ${limit}; accepted is 1 to ${FILE_REAP_COUNT_MAX}`
      throw new MeshError('invalid-argument', `Cannot reap: ${problem}`)
    }
    let left = limit
    while (left > 0) {
      const first = firstOfTrash(transaction)
      if (first === undefined) break
      const entries = entriesOf(transaction, inodeOfKey(first.key), left)
      for (const entry of entries) reapEntry(transaction, entry)
      if (entries.length < left) transaction.delete(AREAS['file-trash'], first.key)
      left -= entries.length + 1
    }
    if (left < limit) noteRelease(transaction)
    return { hasMore: firstOfTrash(transaction) !== undefined }
  }
}

function firstOfTrash(transaction: Transaction): Entry | undefined {
  const [first] = transaction.range(AREAS['file-trash'], volumeSpan(transaction.space))
  return first
}

function entriesOf(transaction: Transaction, inode: number, limit: number): Entry[] {
  const entries: Entry[] = []
  for (const entry of transaction.range(AREAS.file, entriesSpan(transaction.space, inode))) {
    if (entries.push(entry) === limit) break
  }
  return entries
}

function reapEntry(transaction: Transaction, { key, value }: Entry): void {
  const entry = decode(nodeEntryCodec, value)
  transaction.delete(AREAS.file, key)
  if (entry.kind === 'file') return
  const trash = inodeKey(transaction.space, entry.inode)
  transaction.put(AREAS['file-trash'], trash, { value: NO_BYTES })
}
