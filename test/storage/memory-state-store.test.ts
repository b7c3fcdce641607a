import { expect, it } from 'vitest'

import { MemoryStateStore } from '../../src/storage/memory/memory-state-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { describeStateStore, put } from '../conformance/state-store.ts'
import { makeMemoryState } from './state-store-harness.ts'

describeStateStore('MemoryStateStore', makeMemoryState, true)

it('a batch goes to the disk after a while', async () => {
  const clock = new VirtualClock()
  const store = new MemoryStateStore({ clock }, { flushAfterMs: 70 })
  await store.open()
  put(store.group(1), 'a', '1')
  store.group(1).commit()
  await clock.advance(69)
  expect(store.pendingBytes()).toBeGreaterThan(0)
  await clock.advance(1)
  expect(store.pendingBytes()).toBe(0)
  await store.close()
})
