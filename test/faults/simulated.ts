// What the fault tests share: a simulated mesh whose machines and disks can be looked into.

import { assert } from '../../src/base/assert.ts'
import type { BlockId } from '../../src/base/ids.ts'
import { createRandom } from '../../src/base/random.ts'
import { arcOf, CODEC_RAW } from '../../src/core/block/block-id.ts'
import { ownersOf } from '../../src/core/ring/layout.ts'
import type { Node } from '../../src/node/node.ts'
import { hashBlock, matchesId } from '../../src/storage/block-hash.ts'
import type { MemoryFaults } from '../../src/storage/memory/memory-block-store.ts'
import { createTestMesh, SimulatedMesh } from '../../src/testing/test-mesh.ts'
import type { TestMeshOptions } from '../../src/testing/contract.ts'

export async function simulatedMesh(options: TestMeshOptions): Promise<SimulatedMesh> {
  const mesh = await createTestMesh(options)
  assert(mesh instanceof SimulatedMesh, 'the mesh is simulated')
  return mesh
}

export function bytesOf(length: number, seed: number): Uint8Array {
  const random = createRandom(seed)
  return Uint8Array.from({ length }, () => random.below(256))
}

export async function collect(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const part of parts) all.push(part)
  return Uint8Array.from(Buffer.concat(all))
}

export function nodeAt(mesh: SimulatedMesh, index: number): Node {
  const node = mesh.nodes[index]
  assert(node !== undefined, 'the node is there')
  return node
}

export function faultsOf(mesh: SimulatedMesh, index: number): MemoryFaults {
  const faults = mesh.peers[index]?.store?.faults
  assert(faults !== undefined, 'the peer runs')
  return faults
}

/** @returns the indexes of the peers that own a block, as `viewer` sees it, ascending. */
export function ownersIn(mesh: SimulatedMesh, id: BlockId, viewer = 0): number[] {
  const { layout } = nodeAt(mesh, viewer).mesh.layout()
  const owners = ownersOf(layout, arcOf(id, layout.arcCount))
  return mesh.peers.flatMap((peer, index) =>
    owners.some((owner) => owner === peer.identity.peerId) ? [index] : []
  )
}

/** @returns the indexes of the machines with a good copy on disk, running or not. */
export function holdersIn(mesh: SimulatedMesh, id: BlockId): number[] {
  return mesh.peers.flatMap(({ disk }, index) => {
    const bytes = disk.blocks.get(id)
    return bytes !== undefined && matchesId(id, bytes) ? [index] : []
  })
}

/** @returns a file of one block (its CID is the block's id) of which `isWanted` says true. */
export function blockWhere(
  isWanted: (id: BlockId) => boolean,
  options: { length?: number; from?: number } = {}
): { id: BlockId; bytes: Uint8Array } {
  for (let seed = options.from ?? 1; seed < 10_000; seed++) {
    const bytes = bytesOf(options.length ?? 500, seed)
    const id = hashBlock(bytes, CODEC_RAW)
    if (isWanted(id)) return { id, bytes }
  }
  throw new Error('No block is like that')
}

/** Calls `look` every `everyMs` of virtual time until it is disposed of; what it throws is kept. */
export function watch(mesh: SimulatedMesh, everyMs: number, look: () => void): Watch {
  return new Watch(mesh, everyMs, look)
}

export class Watch implements Disposable {
  readonly problems: string[] = []
  looks = 0
  #running = true

  constructor(mesh: SimulatedMesh, everyMs: number, look: () => void) {
    const again = (): void => {
      if (!this.#running) return
      this.looks += 1
      try {
        look()
      } catch (error) {
        if (this.problems.length < 5) {
          this.problems.push(`at ${mesh.clock.monotonicMs()} ms: ${String(error)}`)
        }
      }
      mesh.clock.after(everyMs, again)
    }
    again()
  }

  [Symbol.dispose](): void {
    this.#running = false
  }
}
