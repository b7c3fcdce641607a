// What is kept of a group that others have founded anew.

import { describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { storeId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { foundingRoster } from '../../src/core/groups/roster.ts'
import { EMPTY_CONFIG_STATE } from '../../src/core/raft/messages.ts'
import { identityFromSeed } from '../../src/mesh/identity.ts'
import { AppliedState } from '../../src/shard/applied-state.ts'
import { listSetAside, setAside } from '../../src/shard/set-aside.ts'
import { MemoryLogDisk, MemoryLogStore } from '../../src/storage/memory/memory-log-store.ts'
import { MemoryStateDisk, MemoryStateStore } from '../../src/storage/memory/memory-state-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const GROUPS = 65_536
const KEY = utf8('a key of no service')
const place = {
  peer: identityFromSeed(new Uint8Array(32)).peerId,
  store: storeId('00'.repeat(16)),
  replica: 1
}

type Stores = { readonly stateStore: MemoryStateStore; readonly logStore: MemoryLogStore }

async function opened(disk = new MemoryStateDisk()): Promise<Stores> {
  const clock = new VirtualClock()
  const stateStore = new MemoryStateStore({ clock, disk })
  const logStore = new MemoryLogStore({ clock, disk: new MemoryLogDisk(), logger: silentLogger })
  await stateStore.open()
  await logStore.open()
  return { stateStore, logStore }
}

async function close({ stateStore, logStore }: Stores): Promise<void> {
  await stateStore.close()
  await logStore.close()
}

/** A group's state as a generation has it. */
function begin({ stateStore: store }: Stores, group: number, generation: number): void {
  const roster = foundingRoster([place], { layoutVersion: 0, generation })
  const configState = { ...EMPTY_CONFIG_STATE, voters: [1] }
  const state = store.group(group)
  const applied = new AppliedState(state, { replica: 1, installedIndex: 1, configState, roster })
  state.put(KEY, utf8(`of ${generation}`))
  applied.begin({ index: 1, term: 1 })
}

describe('what is set aside', () => {
  it('setAside() keeps all of a state over restarts, beside what comes in its place', async () => {
    const disk = new MemoryStateDisk()
    const stores = await opened(disk)
    begin(stores, 3, 1)

    expect(await setAside(stores, 3)).toEqual({ group: 3, generation: 1, index: 1 })
    await stores.stateStore.drop(3)
    await close(stores)

    const again = await opened(disk)
    expect(listSetAside(again.stateStore)).toEqual([{ group: 3, generation: 1, index: 1 }])
    const kept = again.stateStore.group(GROUPS + 3)
    expect(fromUtf8(kept.get(KEY) as Uint8Array)).toBe('of 1')
    expect(again.stateStore.group(3).get(KEY)).toBeUndefined()
    await close(again)
  })

  it('setAside() keeps each generation once, and of many the newest four', async () => {
    const stores = await opened()
    for (const generation of [1, 2, 2, 3, 4, 5, 5]) {
      await stores.stateStore.drop(7)
      begin(stores, 7, generation)
      await setAside(stores, 7)
    }
    begin(stores, 2, 9)
    await setAside(stores, 2)

    expect(
      listSetAside(stores.stateStore).map(({ group, generation }) => [group, generation])
    ).toEqual([
      [2, 9],
      [7, 5],
      [7, 4],
      [7, 3],
      [7, 2]
    ])
    await close(stores)
  })

  it('setAside() replaces a copy that was damaged', async () => {
    const stores = await opened()
    const { stateStore } = stores
    begin(stores, 3, 1)
    await setAside(stores, 3)
    await stateStore.group(GROUPS + 3).flushed()
    stateStore.faults.corrupt(GROUPS + 3, KEY)
    expect(() => stateStore.group(GROUPS + 3).get(KEY)).toThrow('fails its checksum')
    expect(listSetAside(stateStore)).toEqual([])

    await setAside(stores, 3)

    expect(listSetAside(stateStore)).toHaveLength(1)
    await close(stores)
  })

  it('setAside() has nothing to do for a replica that has nothing yet', async () => {
    const stores = await opened()

    expect(await setAside(stores, 1)).toBeUndefined()
    expect(listSetAside(stores.stateStore)).toEqual([])
    await close(stores)
  })

  it('setAside() copies more than one write takes, and fails as a whole', async () => {
    const stores = await opened()
    begin(stores, 1, 1)
    const keys = Array.from({ length: 50 }, (_, index) => utf8(`more ${1_000 + index}`))
    begin(stores, 2, 1)
    for (const group of [1, 2].map((number) => stores.stateStore.group(number))) {
      for (const key of keys) group.put(key, new Uint8Array(100_000).fill(7))
      group.commit()
      await group.flushed()
    }

    await setAside(stores, 1)

    for (const key of keys)
      expect(stores.stateStore.group(GROUPS + 1).get(key)).toHaveLength(100_000)
    stores.stateStore.faults.failNextFlush('disk-full')
    await expect(setAside(stores, 2)).rejects.toMatchObject({ code: 'disk-full' })
    expect(listSetAside(stores.stateStore)).toHaveLength(1)
    // Only the copy had no room: all else goes on.
    expect(stores.stateStore.failure()).toBeUndefined()
    await close(stores)
  })
})
