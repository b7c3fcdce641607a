// What a node tells its users of the mesh.

import type { Emitter } from '../base/emitter.ts'
import type { MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Mesh } from '../mesh/mesh.ts'

export type PeerEvent = { peerId: PeerId; name: string }

export type NodeEvents = {
  'peer:joined': PeerEvent
  'peer:suspected': PeerEvent
  'peer:recovered': PeerEvent
  /** Left, evicted, or gone after the grace. */
  'peer:left': PeerEvent & { reason: 'left' | 'evicted' | 'gone' }
  'layout:changed': { version: number; hash: string }
  /** The node can't go on and is stopping. */
  failed: MeshError
}

/** What happens to the mesh, in the words of users. */
export function forwardEvents(mesh: Mesh, events: Emitter<NodeEvents>): void {
  mesh.on('layout:changed', ({ version, hash }) => events.emit('layout:changed', { version, hash }))
  mesh.on('member', ({ kind, member }) => {
    const event = { peerId: member.record.peerId, name: member.record.name }
    if (event.peerId === mesh.self) return
    if (kind === 'joined') events.emit('peer:joined', event)
    else if (kind === 'suspected') events.emit('peer:suspected', event)
    else if (kind === 'recovered') events.emit('peer:recovered', event)
    else if (kind === 'left' || kind === 'gone' || kind === 'evicted') {
      events.emit('peer:left', { ...event, reason: kind })
    }
  })
}
