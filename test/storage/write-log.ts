// A process that writes entries to a log on disk until it is killed, and says which are durable.

import { silentLogger } from '../../src/base/log.ts'
import type { Entry } from '../../src/core/raft/messages.ts'
import { systemClock } from '../../src/node/system-clock.ts'
import { FileLogStore } from '../../src/storage/file/log/file-log-store.ts'

const [, , dir = ''] = process.argv
const store = new FileLogStore(
  { clock: systemClock, logger: silentLogger },
  { dir, segmentBytes: 256 * 1_024 }
)
await store.open()

async function writeGroup(group: number): Promise<void> {
  for (let index = store.group(group).lastIndex() + 1; ; index++) {
    const data = new Uint8Array(500).fill(index & 0xff)
    const entry: Entry = { type: 'normal', term: 1, index, data }
    const truncateTo = index % 100 === 0 ? index - 50 : undefined
    await store.write([{ group, entries: [entry], truncateTo }])
    process.stdout.write(`${group} ${index}\n`)
  }
}

await Promise.all([0, 1, 2, 3].map(writeGroup))
