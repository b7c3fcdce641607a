// What holds for the state of a shard after every entry, whatever was asked. Tests and simulations
// check it; a node doesn't.

import { assert } from '../../base/assert.ts'
import { toHex } from '../../base/bytes.ts'
import { readClient } from './clients.ts'
import { decode } from './codec.ts'
import { readChanges } from './compaction.ts'
import { checkFileName } from './file-names.ts'
import {
  decodeVolume,
  inodeOfKey,
  nameOfEntry,
  nodeEntryCodec,
  parentOfEntry
} from './file-records.ts'
import { checkJobs } from './job-invariants.ts'
import type { CurrentKey } from './job-invariants.ts'
import { keysOfLease, readLease } from './leases.ts'
import {
  ANSWERS_BYTES_PER_CLIENT,
  ANSWERS_PER_CLIENT,
  CLIENTS_MAX,
  CLIENT_TTL_MS,
  FILE_VERSIONS_MAX,
  LEASE_KEYS_MAX
} from './limits.ts'
import { lockHolderCodec } from './locks.ts'
import { STORED_KEY_BYTES_MAX } from './ordered-state.ts'
import type { OrderedReads, Pair } from './ordered-state.ts'
import { readMeta, versionCodec } from './records.ts'
import type { Meta } from './records.ts'
import { shown, spaceOf } from './space.ts'
import {
  AREAS,
  answerKey,
  clientDeadlineKey,
  currentKey,
  isCounted,
  keyOfCurrent,
  lastNumber,
  leaseDeadlineKey,
  leaseKeyKey,
  partsOfDeadline,
  pastKey
} from './state-keys.ts'

/** Crashes when an invariant is broken. Reads everything. */
export function checkStateInvariants(state: OrderedReads): void {
  const meta = readMeta(state)
  const byTag = Map.groupBy(state.range({}), ({ key }) => key[0] as number)
  const tagged = (tag: number): Pair[] => byTag.get(tag) ?? []
  let used = 0
  for (const { key, value } of state.range({})) {
    assert(key.length <= STORED_KEY_BYTES_MAX, 'stored keys fit the store')
    if (isCounted(key)) used += key.length + value.length
  }
  assert(used === meta.usedBytes, `used bytes are counted: ${used}, not ${meta.usedBytes}`)
  checkHistory(state, meta, { past: tagged(0x11), changes: tagged(0x12) })
  checkCurrent(state, meta, tagged(0x10))
  checkLeases(state, { leases: tagged(0x20), keys: tagged(0x21), deadlines: tagged(0x22) })
  checkFiles(tagged(0x10))
  checkJobs(state, currentKeys(tagged(0x10)))
  checkClients(state, meta, { clients: tagged(0x30), deadlines: tagged(0x32) })
}

function checkCurrent(state: OrderedReads, meta: Meta, current: readonly Pair[]): void {
  for (const { key: stored, value } of current) {
    const version = decode(versionCodec, value)
    const { createRevision, modRevision, lease } = version
    assert(createRevision >= 1 && createRevision <= modRevision, 'a key is made before it changes')
    assert(modRevision <= meta.revision, 'no version is of a revision to come')
    assert((version.version === 1) === (createRevision === modRevision), 'versions begin at 1')
    const area = stored[1] as number
    const key = keyOfCurrent(stored)
    if (lease !== 0) {
      assert(state.get(leaseKeyKey(lease, area, key)) !== undefined, 'a lease knows its keys')
    }
    if (area === AREAS.lock) {
      const { ticket, token } = decode(lockHolderCodec, version.value)
      assert(token === modRevision, 'a token is the revision of the grant')
      assert(ticket >= 1 && ticket <= token, 'a lock is granted when it was asked for, or later')
      assert(lease !== 0, 'a lock is held under a lease')
    }
    if (area === AREAS['lock-queue']) {
      assert(lease !== 0, 'who waits has a lease')
      const name = key.subarray(0, key.indexOf(0))
      const isHeld = state.get(currentKey(AREAS.lock, name)) !== undefined
      assert(isHeld, 'nobody waits for a lock that is free')
    }
  }
}

function currentKeys(current: readonly Pair[]): CurrentKey[] {
  return current.map(({ key, value }) => {
    return { area: key[1] as number, key: keyOfCurrent(key), ...decode(versionCodec, value) }
  })
}

/** Past versions are exactly those that a kept change refers to: none missing, none left behind. */
function checkHistory(
  state: OrderedReads,
  { revision, compacted }: Meta,
  { past, changes }: { past: readonly Pair[]; changes: readonly Pair[] }
): void {
  assert(changes.length === revision - compacted, 'every kept revision has its changes, no other')
  const wanted = new Set<string>()
  let lastMs = 0
  for (let at = compacted + 1; at <= revision; at++) {
    const { timeMs, changes } = readChanges(state, at)
    assert(changes.length > 0, 'a revision changes something')
    assert(timeMs >= lastMs, 'time runs forward')
    lastMs = timeMs
    for (const { area, key, previous, isDelete } of changes) {
      assert(previous < at, 'what was before is older')
      assert(!isDelete || previous > 0, 'what is deleted was there')
      if (previous > 0) wanted.add(toHex(pastKey(area, key, previous)))
      if (isDelete) wanted.add(toHex(pastKey(area, key, at)))
    }
  }
  const found = new Set(past.map(({ key }) => toHex(key)))
  assert(found.size === wanted.size, `${wanted.size} past versions are kept, not ${found.size}`)
  for (const key of wanted) assert(found.has(key), 'what a change refers to is kept')
}

function checkLeases(
  state: OrderedReads,
  stored: { leases: readonly Pair[]; keys: readonly Pair[]; deadlines: readonly Pair[] }
): void {
  let keyCount = 0
  for (const { key } of stored.leases) {
    const id = lastNumber(key)
    const lease = readLease(state, id)
    assert(lease !== undefined, 'a lease is where its id says')
    const places = keysOfLease(state, id)
    keyCount += places.length
    assert(places.length === lease.keyCount, 'the keys of a lease are counted')
    assert(places.length <= LEASE_KEYS_MAX, 'the keys of a lease are bounded')
    for (const { area, key } of places) {
      const current = state.get(currentKey(area, key))
      const goesWith = current === undefined ? 0 : decode(versionCodec, current).lease
      assert(goesWith === id, 'a key of a lease is there and knows it')
    }
    const deadline = state.get(leaseDeadlineKey(lease.deadlineMs, id))
    assert(deadline !== undefined, 'a lease is among the deadlines')
  }
  assert(stored.deadlines.length === stored.leases.length, 'each deadline is of a lease')
  assert(keyCount === stored.keys.length, 'no key goes with a lease that has ended')
}

function checkClients(
  state: OrderedReads,
  meta: Meta,
  { clients, deadlines }: { clients: readonly Pair[]; deadlines: readonly Pair[] }
): void {
  assert(clients.length === meta.clientCount, 'clients are counted')
  assert(clients.length <= CLIENTS_MAX, 'clients are bounded')
  assert(deadlines.length === clients.length, 'each client has one deadline')
  for (const { key } of deadlines) {
    const { deadlineMs, id } = partsOfDeadline(key)
    const client = readClient(state, id)
    assert(client !== undefined, 'each deadline is of a client')
    assert(deadlineMs === client.activeMs + CLIENT_TTL_MS, 'a deadline is where it belongs')
    assert(state.get(clientDeadlineKey(deadlineMs, id)) !== undefined, 'deadlines read as written')
    const answers = [...state.range({ from: answerKey(id, 0), to: answerKey(id + 1, 0) })]
    assert(answers.length <= ANSWERS_PER_CLIENT, 'answers are bounded')
    const bytes = answers.reduce((sum, { value }) => sum + value.length, 0)
    assert(bytes === client.answersBytes, 'the bytes of answers are counted')
    assert(bytes <= ANSWERS_BYTES_PER_CLIENT, 'the bytes of answers are bounded')
    for (const { key } of answers) assert(lastNumber(key) >= client.floor, 'old answers are gone')
  }
}

/** Each volume is a tree, and what is in the trash are trees: no orphan, no cycle, no two parents. */
function checkFiles(current: readonly Pair[]): void {
  /** Directories that nothing leads to, or an entry each; by volume and number. */
  const roots: string[] = []
  const children = new Map<string, string[]>()
  const reached = new Set<string>()
  for (const { key: stored, value } of current) {
    const key = keyOfCurrent(stored)
    const space = spaceOf(key)
    const named = (inode: number): string => `${shown(space)}/${inode}`
    const version = decode(versionCodec, value)
    if (stored[1] === AREAS['file-volume']) roots.push(named(decodeVolume(version.value).inode))
    if (stored[1] === AREAS['file-trash']) roots.push(named(inodeOfKey(key)))
    if (stored[1] !== AREAS.file) continue
    checkFileName(nameOfEntry(space, key))
    const parent = named(parentOfEntry(space, key))
    const entry = decode(nodeEntryCodec, version.value)
    const inside = children.get(parent) ?? []
    children.set(parent, inside)
    if (entry.kind === 'directory') inside.push(named(entry.inode))
    else {
      const versions = [entry.newest, ...entry.earlier].map(({ version }) => version)
      assert(versions.length <= FILE_VERSIONS_MAX, 'the versions of a file are bounded')
      const falling = versions.every((at, index) => index === 0 || at < Number(versions[index - 1]))
      assert(falling, 'the versions of a file are in order')
    }
  }
  const waiting = [...roots]
  for (let inode = waiting.pop(); inode !== undefined; inode = waiting.pop()) {
    assert(!reached.has(inode), `one entry leads to directory ${inode}`)
    reached.add(inode)
    waiting.push(...(children.get(inode) ?? []))
  }
  for (const parent of children.keys()) assert(reached.has(parent), `${parent} is in a tree`)
}
