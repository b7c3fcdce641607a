// A process that commits batches to a state store on disk until it is killed, and says which are
// durable.

import { utf8 } from '../../src/base/bytes.ts'
import { silentLogger } from '../../src/base/log.ts'
import { systemClock } from '../../src/node/system-clock.ts'
import { FileStateStore } from '../../src/storage/file/state/file-state-store.ts'
import { stateAfter } from './state-batches.ts'

const [, , dir = ''] = process.argv
const store = new FileStateStore(
  { clock: systemClock, logger: silentLogger },
  { dir, flushBytes: 32 * 1_024, flushAfterMs: 2 }
)
await store.open()

async function writeGroup(id: number): Promise<void> {
  const group = store.group(id)
  const note = group.note()
  let batch = note === undefined ? 0 : Number(Buffer.from(note).toString())
  for (;;) {
    for (let count = 0; count < 20; count++) {
      const before = stateAfter(batch)
      batch += 1
      const after = stateAfter(batch)
      for (const key of before.keys()) if (!after.has(key)) group.delete(utf8(key))
      for (const [key, value] of after) {
        if (before.get(key) !== value) group.put(utf8(key), utf8(value))
      }
      group.setNote(utf8(String(batch)))
      group.commit()
    }
    await group.flushed()
    process.stdout.write(`${id} ${batch}\n`)
  }
}

await Promise.all([0, 1, 2, 3].map(writeGroup))
