// A process of its own that opens and closes the state of a data folder: should that end a process,
// it is this one. (D-17)

import type { Clock } from '../../../base/clock.ts'
import { silentLogger } from '../../../base/log.ts'
import { LayeredStateStore } from '../../state/layered-state-store.ts'
import { LmdbMedium } from './lmdb-medium.ts'
import { join } from 'node:path'

/** Nothing waits here. */
const noClock: Clock = {
  monotonicMs: () => 0,
  nowMs: () => 0,
  after: () => ({ cancel: () => undefined })
}

const [, , dir = ''] = process.argv
const path = join(dir, 'state')
const folder = {
  path,
  prepare: () => Promise.resolve(false),
  isAsLeft: () => Promise.resolve(false),
  left: () => Promise.resolve(),
  doubted: () => Promise.resolve(),
  proven: () => Promise.resolve(),
  condemn: () => Promise.resolve(),
  setAside: () => Promise.reject(new Error('The check changes nothing'))
}
const medium = new LmdbMedium(folder)
const store = new LayeredStateStore({ clock: noClock, logger: silentLogger, medium })
await store.open()
for (const group of store.groups()) await store.check(group)
await store.close()
