import { describeLogStore } from '../conformance/log-store.ts'
import { makeDiskLog, makeMemoryLog, makeSimulatedLog } from './log-store-harness.ts'

describeLogStore('MemoryLogStore', makeMemoryLog, true)
describeLogStore('FileLogStore on a simulated disk', makeSimulatedLog, true)
describeLogStore('FileLogStore on a disk', makeDiskLog, false)
