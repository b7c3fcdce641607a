import { describeStateStore } from '../conformance/state-store.ts'
import { makeFileState } from './state-store-harness.ts'

describeStateStore('FileStateStore', makeFileState, false)
