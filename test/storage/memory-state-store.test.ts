import { describeStateStore } from '../conformance/state-store.ts'
import { makeMemoryState } from './state-store-harness.ts'

describeStateStore('MemoryStateStore', makeMemoryState, true)
