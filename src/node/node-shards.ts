// The shards of a node, from its parts: who counts as a member, and what is kept of a layout.

import type { PeerId } from '../base/ids.ts'
import { isOut, layoutMembers } from '../mesh/placement.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { ShardLayer } from '../shard/shard-layer.ts'
import type { NodeComponents, NodeSetup } from './node.ts'

export function shardsOf(
  components: NodeComponents,
  about: {
    setup: NodeSetup
    mesh: Mesh
    /** Something is to be written to the data folder. */
    onSaved: (save: () => Promise<void>) => void
  }
): ShardLayer {
  const { setup, mesh, onSaved } = about
  const { genesis, meshId } = setup.founding
  const { shardCount, arcCount, replication } = genesis
  return new ShardLayer(
    {
      ...components,
      members: () => layoutMembers(mesh.members()),
      isOut: (peer: PeerId) => {
        const member = mesh.member(peer)
        return member !== undefined && isOut(member)
      },
      others: () => mesh.others(),
      isReachable: (peer) => mesh.isReachable(peer),
      onLayout: (layout, encoded) => {
        mesh.commitLayout(layout)
        onSaved(async () => await components.journal.saveLayout(encoded))
      }
    },
    {
      self: mesh.self,
      store: setup.self.storeId,
      meshId,
      count: shardCount,
      shape: {
        blocks: { arcCount, replication },
        groups: { arcCount: shardCount + 1, replication }
      },
      layout: setup.layout,
      isFounding: genesis.founder === mesh.self && !setup.hasLog
    }
  )
}
