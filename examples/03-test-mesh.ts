// A mesh for the tests of an app: whole nodes on a simulated network and virtual time. Minutes pass
// in moments, and the same seed gives the same run.
//
//   node examples/03-test-mesh.ts

import { createTestMesh } from '../src/testing/index.ts'

await using mesh = await createTestMesh({ peers: 5, seed: 7 })
const [first, second, , , fifth] = mesh.nodes
if (first === undefined || second === undefined || fifth === undefined) throw new Error('no mesh')

/** How many members a node believes to answer. */
const alive = async (node: typeof first): Promise<number> => {
  const { members } = await node.status()
  return members.filter(({ state }) => state === 'alive').length
}

const { cid } = await first.files.put(new TextEncoder().encode('still here'))

mesh.partition([
  [0, 1, 2],
  [3, 4]
])
await mesh.advance(60_000)
console.log(`in two parts: the first sees ${await alive(first)}, the fifth ${await alive(fifth)}`)

mesh.heal()
await mesh.settle()
console.log(`healed: the fifth sees ${await alive(fifth)}`)

await mesh.kill(0)
let text = ''
for await (const part of second.files.get(cid)) text += Buffer.from(part).toString()
console.log(`without the first: ${text}`)

const again = await mesh.restart(0)
await mesh.settle()
console.log(`started again: the first sees ${await alive(again)}`)
