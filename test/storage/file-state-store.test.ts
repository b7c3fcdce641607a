import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'

import { utf8 } from '../../src/base/bytes.ts'
import { describeStateStore, put } from '../conformance/state-store.ts'
import { makeFileState, openStateIn } from './state-store-harness.ts'

describeStateStore('FileStateStore', makeFileState, false)

it('closing a store ends its snapshots', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'atoll-state-'))
  const store = await openStateIn(dir)
  put(store.group(1), 'a', '1')
  store.group(1).commit()
  await store.group(1).flushed()
  const snapshot = await store.group(1).snapshot()
  await store.close()
  expect(() => snapshot.get(utf8('a'))).toThrow('closed')
  snapshot.close()
  await rm(dir, { recursive: true })
})
