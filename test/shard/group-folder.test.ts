// What is found after a crash at any step, and after damage.

import { beforeEach, describe, expect, it } from 'vitest'
import { storeId } from '../../src/base/ids.ts'
import { peerId } from '../../src/base/ids.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { silentLogger } from '../../src/base/log.ts'
import { readMeta } from '../../src/core/machine/records.ts'
import { exportState } from '../../src/core/machine/snapshot.ts'
import { EMPTY_CONFIG_STATE } from '../../src/core/raft/messages.ts'
import type { Entry } from '../../src/core/raft/messages.ts'
import { AppliedState } from '../../src/shard/applied-state.ts'
import { GroupFolder } from '../../src/shard/group-folder.ts'
import { encodeReplicaNote } from '../../src/shard/replica-note.ts'
import type { ReplicaNote } from '../../src/shard/replica-note.ts'
import { MemoryLogDisk, MemoryLogStore } from '../../src/storage/memory/memory-log-store.ts'
import { MemoryStateDisk, MemoryStateStore } from '../../src/storage/memory/memory-state-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const PLACE = { peer: peerId('me'), store: storeId('0'.repeat(32)) }
const NO_BYTES = new Uint8Array(0)

let logDisk: MemoryLogDisk
let stateDisk: MemoryStateDisk
let logStore: MemoryLogStore
let stateStore: MemoryStateStore
let folder: GroupFolder

async function start(): Promise<void> {
  const clock = new VirtualClock()
  logStore = new MemoryLogStore({ clock, disk: logDisk })
  stateStore = new MemoryStateStore({ clock, disk: stateDisk })
  await logStore.open()
  await stateStore.open()
  folder = new GroupFolder({ logStore, stateStore, logger: silentLogger, place: PLACE })
}

/** Everything that is durable is found again. */
async function restart(): Promise<void> {
  await logStore.close()
  await stateStore.close()
  await start()
}

beforeEach(async () => {
  logDisk = new MemoryLogDisk()
  stateDisk = new MemoryStateDisk()
  await start()
})

function empty(index: number, term = 1, data: Uint8Array = NO_BYTES): Entry {
  return { type: 'normal', index, term, data }
}

/** Applies empty entries up to an index. */
async function applyTo(group: number, note: ReplicaNote, index: number, term = 1): Promise<void> {
  const state = stateStore.group(group)
  const applied = new AppliedState(state, note)
  const entries = Array.from({ length: index - applied.index }, (_, at) =>
    empty(applied.index + 1 + at, term)
  )
  applied.apply(entries, () => ({ configState: note.configState }))
  await state.flushed()
}

/** Writes entries, flips a bit of the first one, and starts again. */
async function damageLog(alsoHere: () => void = () => {}): Promise<void> {
  const mark = utf8('the bytes that a disk lost')
  await logStore.write([{ group: 0, entries: [empty(2, 1, mark)] }])
  await logStore.write([{ group: 0, entries: [empty(3)] }])
  await logStore.close()
  await stateStore.close()
  for (const bytes of logDisk.files.values()) {
    const at = Buffer.from(bytes.buffer).indexOf(mark)
    if (at >= 0) bytes[at] = (bytes[at] as number) ^ 1
  }
  alsoHere()
  await start()
}

describe('a group that was founded', () => {
  it('is found again, and is founded once', async () => {
    await folder.found([0, 1])
    await folder.found([0, 1])
    await restart()
    expect(folder.groups()).toEqual([0, 1])
    const note = await folder.open(1)
    expect(note).toMatchObject({ replica: 1, configState: { voters: [1] } })
    expect(folder.lastOf(1)).toEqual({ id: 1, generation: 1, isGone: false })
    expect(folder.lastOf(2)).toBeUndefined()
  })

  it('is founded by the next start when only its state was written', async () => {
    const write = logStore.write.bind(logStore)
    logStore.write = async () => await Promise.reject(new Error('the power goes'))
    await expect(folder.found([0])).rejects.toThrow('the power goes')
    logStore.write = write
    await restart()
    expect(folder.groups()).toEqual([])
    await folder.found([0])
    expect(await folder.open(0)).toMatchObject({ replica: 1 })
    expect(logStore.group(0).firstIndex()).toBe(2)
  })
})

describe('a replica whose disk lost something', () => {
  const found = async (): Promise<ReplicaNote> => {
    await folder.found([0])
    return (await folder.open(0)) as ReplicaNote
  }

  it('goes on when the newest state is lost: the log has it', async () => {
    const note = await found()
    await logStore.write([{ group: 0, entries: [empty(2), empty(3)] }])
    await applyTo(0, note, 2)
    await restart()
    expect(await folder.open(0)).toMatchObject({ replica: 1 })
  })

  it.each(['state', 'end of the log', 'log after a gap'])(
    'is of no use without its %s',
    async (what) => {
      const note = await found()
      await logStore.write([{ group: 0, entries: [empty(2), empty(3), empty(4)] }])
      if (what === 'state') await stateStore.drop(0)
      else if (what === 'end of the log') await applyTo(0, note, 5)
      else await logStore.write([{ group: 0, truncateTo: 3, configState: note.configState }])
      await restart()
      expect(await folder.open(0)).toBeUndefined()
      expect(folder.lastOf(0)).toEqual({ id: 1, generation: 1, isGone: true })
      await restart()
      expect(folder.lastOf(0)).toEqual({ id: 1, generation: 1, isGone: true })
      expect(stateStore.groups()).toEqual([])
    }
  )

  it('keeps its name when the log that has it is damaged', async () => {
    await found()
    await damageLog()
    expect(logStore.group(0).damage()).toBeDefined()
    expect(folder.isNameLost(0)).toBe(false)
    expect(folder.lastOf(0)).toEqual({ id: 1, generation: 1, isGone: false })
    expect(await folder.open(0)).toBeUndefined()
    expect(folder.lastOf(0)).toEqual({ id: 1, generation: 1, isGone: true })
  })

  it('has lost its name when its state is damaged too', async () => {
    await found()
    await damageLog(() => {
      const keys = Array.from(stateDisk.pairs.range({}), ({ key }) => key)
      for (const key of keys) stateDisk.pairs.delete(key)
    })
    expect(folder.isNameLost(0)).toBe(true)
    expect(await folder.open(0)).toBeUndefined()
    expect(folder.lastOf(0)).toBeUndefined()
    await folder.discard(0, { replica: 4, generation: 1 })
    expect(folder.isNameLost(0)).toBe(false)
    expect(folder.lastOf(0)).toEqual({ id: 4, generation: 1, isGone: true })
  })
})

describe('a replica that begins anew', () => {
  it('is there from its first write on, which ends the one before', async () => {
    await folder.found([0])
    const name = { replica: 5, generation: 1 }
    expect(await folder.begin(0, name)).toMatchObject({ replica: 5, installedIndex: 0 })
    expect(folder.lastOf(0)).toEqual({ id: 5, generation: 1, isGone: false })
    const hardState = { term: 3, vote: 0, commit: 0 }
    await logStore.write([folder.named({ group: 0, hardState })])
    expect(folder.named({ group: 0, hardState })).toEqual({ group: 0, hardState })
    await restart()
    expect(await folder.open(0)).toMatchObject({ replica: 5, configState: EMPTY_CONFIG_STATE })
    expect(logStore.group(0).initialState().hardState).toEqual(hardState)
  })

  it('was never there when it wrote nothing: neither is the one before', async () => {
    await folder.found([0])
    await folder.begin(0, { replica: 5, generation: 1 })
    await restart()
    expect(await folder.open(0)).toBeUndefined()
    expect(folder.lastOf(0)).toEqual({ id: 1, generation: 1, isGone: true })
  })
})

describe('a snapshot that was in the state alone when the power went', () => {
  const SNAPSHOT = { index: 40, term: 6 }

  it.each([
    ['behind it', []],
    ['beyond it, by another leader', Array.from({ length: 60 }, (_, at) => empty(at + 2))]
  ])('takes the place of a log that was %s', async (_, entries) => {
    await folder.found([0])
    const note = (await folder.open(0)) as ReplicaNote
    const hardState = { term: 2, vote: 1, commit: 1 }
    await logStore.write([{ group: 0, hardState, entries }])
    // What another replica has.
    const other = stateStore.group(9)
    await applyTo(9, note, SNAPSHOT.index, SNAPSHOT.term)
    const install = await stateStore.group(0).install()
    await install.write([...exportState(other)])
    await install.finish(encodeReplicaNote({ ...note, installedIndex: SNAPSHOT.index }))
    await restart()
    expect(await folder.open(0)).toMatchObject({ replica: 1, installedIndex: 40 })
    const log = logStore.group(0)
    expect([log.firstIndex(), log.lastIndex(), log.term(40)]).toEqual([41, 40, 6])
    expect(log.initialState().hardState).toEqual({ term: 6, vote: 0, commit: 40 })
    expect(readMeta(stateStore.group(0))).toMatchObject(SNAPSHOT)
  })

  it('leaves a log that has its entry and goes on after it', async () => {
    await folder.found([0])
    const note = (await folder.open(0)) as ReplicaNote
    const entries = Array.from({ length: 60 }, (_, at) => empty(at + 2, at < 10 ? 1 : 6))
    await logStore.write([{ group: 0, hardState: { term: 6, vote: 1, commit: 1 }, entries }])
    await stateStore.drop(0)
    const installed = { ...note, installedIndex: SNAPSHOT.index }
    stateStore.group(0).setNote(encodeReplicaNote(installed))
    await applyTo(0, installed, SNAPSHOT.index, SNAPSHOT.term)
    await restart()
    expect(await folder.open(0)).toMatchObject({ installedIndex: 40 })
    expect(logStore.group(0).lastIndex()).toBe(61)
    expect(logStore.group(0).initialState().hardState.vote).toBe(1)
  })
})
