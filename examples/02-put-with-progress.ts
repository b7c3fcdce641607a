// A larger file: progress while it goes in, giving up half-way, a part of it, and how the mesh is.
//
//   node examples/02-put-with-progress.ts

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode } from '../src/index.ts'

const MIB = 2 ** 20
const PARTS = 16

/** Sixteen mebibytes as they might come from a camera: any iterable of bytes will do. */
function* recording(): Generator<Uint8Array> {
  for (let part = 0; part < PARTS; part++) yield new Uint8Array(MIB).fill(65 + part)
}

const root = await mkdtemp(join(tmpdir(), 'atoll-example-'))
const common = { preset: 'local', capacityBytes: 2 ** 30 } as const
try {
  await using node = await createNode({ ...common, dataDir: join(root, 'first') })
  const joined = Promise.withResolvers<string>()
  node.on('peer:joined', ({ name }) => joined.resolve(name))
  await using other = await createNode({
    ...common,
    name: 'other',
    dataDir: join(root, 'other'),
    join: node.addresses
  })
  console.log(`${await joined.promise} joined`)

  // Giving up: nothing is acknowledged, and the next attempt sends only what is missing.
  const giveUp = new AbortController()
  try {
    await node.files.put(recording(), {
      signal: giveUp.signal,
      onProgress: ({ bytes }) => {
        if (bytes >= 4 * MIB) giveUp.abort(new Error('changed my mind'))
      }
    })
  } catch (error) {
    console.log(`gave up: ${(error as Error).message}`)
  }

  let quarter = 1
  const { cid, bytes, blocks } = await node.files.put(recording(), {
    onProgress: (progress) => {
      if (progress.bytes < (quarter * PARTS * MIB) / 4) return
      console.log(`${quarter * 25} %`)
      quarter += 1
    }
  })
  console.log(`${cid}: ${bytes} bytes in ${blocks} blocks`)

  // A part, read where the file didn't go in: four bytes on either side of a block's edge.
  const range = { offset: 3 * MIB - 4, length: 8 }
  let text = ''
  for await (const part of other.files.get(cid, range)) text += Buffer.from(part).toString()
  console.log(`${range.length} bytes from ${range.offset}: ${text}`)

  const { members, failuresTolerated } = await node.status()
  console.log(`${members.length} members, ${failuresTolerated} may fail`)
} finally {
  await rm(root, { recursive: true, force: true })
}
