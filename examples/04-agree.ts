// Two nodes agree: a value that both see, a change that is watched, and a lock whose token tells an
// old holder from the new one.
//
//   node examples/04-agree.ts

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode, isMeshError } from '../src/index.ts'

const root = await mkdtemp(join(tmpdir(), 'atoll-example-'))
const common = { preset: 'local', capacityBytes: 2 ** 30 } as const
try {
  await using first = await createNode({ ...common, dataDir: join(root, 'first') })
  await using second = await createNode({
    ...common,
    dataDir: join(root, 'second'),
    join: first.addresses
  })

  // What stands before the slash is the space: its keys are ordered, listed and watched together.
  await first.kv.put('config/colour', 'blue')
  const seen = await second.kv.get('config/colour')
  console.log(`the second node reads ${seen?.text()}, version ${seen?.version}`)

  // Compare-and-set: only when nobody else wrote it since it was read.
  await second.kv.put('config/colour', 'green', { ifVersion: 1 })
  try {
    await first.kv.put('config/colour', 'red', { ifVersion: 1 })
  } catch (error) {
    if (!isMeshError(error, 'conflict')) throw error
    console.log(error.message)
  }

  // Every change from a revision on, in order; none is missed in between.
  const { revision } = await first.kv.put('config/size', 'small')
  await second.kv.delete('config/size')
  for await (const event of first.kv.watch('config/', { fromRevision: revision })) {
    console.log(`${event.type} ${event.key}`)
    if (event.type === 'delete') break
  }

  // One holder at a time; those who wait get it in order. The token only grows.
  const lock = await first.locks.acquire('jobs/backup')
  const next = second.locks.acquire('jobs/backup')
  console.log(`the first holds ${lock.name}: ${lock.isHeld}`)
  await lock.release()
  await using mine = await next
  console.log(`the second has a higher token: ${mine.token > lock.token}`)
} finally {
  await rm(root, { recursive: true, force: true })
}
