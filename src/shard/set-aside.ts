// What is here of a group when others have founded it anew: nobody serves it any more, but it may have
// what they lack. It is kept in the same store, under a number that no group has.

import { present } from '../base/assert.ts'
import { MIB } from '../base/units.ts'
import type { Pair } from '../core/machine/ordered-state.ts'
import { readMeta } from '../core/machine/records.ts'
import type { GroupLog, LogStore } from '../storage/log-store.ts'
import type { GroupState, StateInstall, StateStore } from '../storage/state-store.ts'
import { GROUP_MAX } from '../wire/shard-frame.ts'
import { AppliedState } from './applied-state.ts'
import { decodeReplicaNote } from './replica-note.ts'

/** Of one group; beyond them the oldest generation goes. */
const KEPT_MAX = 4
const WRITE_BYTES: number = MIB

export type SetAsideParts = { readonly stateStore: StateStore; readonly logStore: LogStore }

export type SetAside = {
  readonly group: number
  readonly generation: number
  /** The last entry that had been applied. */
  readonly index: number
}

/**
 * Copies a group's state, with all that is in its log applied; durable when it resolves. Made again
 * after a crash it is still one copy.
 *
 * @returns undefined when there is nothing yet @throws corrupt, disk-full, storage-failed, overloaded
 */
export async function setAside(
  { stateStore: store, logStore }: SetAsideParts,
  group: number
): Promise<SetAside | undefined> {
  const own = describe(store.group(group), group)
  if (own === undefined) return undefined
  const kept = Array.from({ length: KEPT_MAX }, (_, place) => {
    const number = numberOf(group, place)
    const isUsable = store.damageOf(number) === undefined
    const there = isUsable ? describe(store.group(number), group) : undefined
    return { number, generation: there?.generation ?? 0 }
  })
  const same = kept.find(({ generation }) => generation === own.generation)
  const [oldest] = kept.toSorted((a, b) => a.generation - b.generation)
  const { number } = same ?? present(oldest, 'there are places')
  const snapshot = await store.group(group).snapshot()
  try {
    const install = await store.group(number).install()
    try {
      await copy(snapshot.range({}), install)
      await install.finish(snapshot.note() as Uint8Array)
    } finally {
      await install.abort()
    }
  } finally {
    snapshot.close()
  }
  await applyLog(store.group(number), logStore.group(group))
  return describe(store.group(number), group)
}

/** @returns all that is kept, by group, the newest generation of a group first. */
export function listSetAside(store: StateStore): SetAside[] {
  const found = store.groups().flatMap((number) => {
    if (number <= GROUP_MAX || store.damageOf(number) !== undefined) return []
    return describe(store.group(number), number % (GROUP_MAX + 1)) ?? []
  })
  return found.toSorted((a, b) => a.group - b.group || b.generation - a.generation)
}

function numberOf(group: number, place: number): number {
  return (place + 1) * (GROUP_MAX + 1) + group
}

function describe(state: GroupState, group: number): SetAside | undefined {
  const note = state.note()
  if (note === undefined) return undefined
  const { generation } = decodeReplicaNote(note).roster
  return { group, generation, index: readMeta(state).index }
}

/** Whoever was switched off may have applied less than it has; nobody tells it any more what was committed. */
async function applyLog(state: GroupState, log: GroupLog): Promise<void> {
  const applied = new AppliedState(state, decodeReplicaNote(state.note() as Uint8Array))
  if (log.damage() !== undefined || applied.index < log.firstIndex() - 1) return
  while (applied.index < log.lastIndex()) {
    const from = applied.index + 1
    const entries = log.entries(from, log.lastIndex() + 1, WRITE_BYTES)
    if (entries === undefined) break
    const { configState } = applied
    const outcomes = applied.apply(entries, () => ({ configState }))
    // An operation that this program doesn't know: what comes after it means nothing without it.
    if (outcomes.at(-1)?.kind === 'halted') break
    await state.flushed()
  }
}

async function copy(pairs: Iterable<Pair>, install: StateInstall): Promise<void> {
  let batch: Pair[] = []
  let bytes = 0
  for (const pair of pairs) {
    batch.push(pair)
    bytes += pair.key.length + pair.value.length
    if (bytes < WRITE_BYTES) continue
    await install.write(batch)
    batch = []
    bytes = 0
  }
  await install.write(batch)
}
