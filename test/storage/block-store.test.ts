import { describeBlockStore } from '../conformance/block-store.ts'
import { makeFileStore, makeMemoryStore, makeSimulatedStore } from './block-store-harness.ts'

describeBlockStore('MemoryBlockStore', makeMemoryStore)
describeBlockStore('FileBlockStore on a simulated disk', makeSimulatedStore)
describeBlockStore('FileBlockStore on this disk', makeFileStore, { injectsFaults: false })
