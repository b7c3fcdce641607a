// Addresses as people give them, and as libp2p does.

import type { PeerId as Libp2pPeerId } from '@libp2p/interface'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { errorMessage, MeshError } from '../../base/errors.ts'
import { peerId } from '../../base/ids.ts'
import { ADDRESS_COUNT_MAX, ADDRESS_LENGTH_MAX } from '../../base/limits.ts'
import type { Address, FoundPeer } from '../network.ts'

/** @throws invalid-argument unless `text` is a multiaddr that this node can dial or listen on. */
export function parseAddress(text: string): Address {
  try {
    if (text.length > ADDRESS_LENGTH_MAX) throw new Error('it is too long')
    const names = multiaddr(text)
      .getComponents()
      .map((component) => component.name)
    if (!names.includes('tcp')) throw new Error('it has no /tcp part')
    return text
  } catch (error) {
    throw new MeshError(
      'invalid-argument',
      `"${text.slice(0, 120)}" is not an address (${errorMessage(error)}); ` +
        'write it like /ip4/192.168.1.5/tcp/4001',
      { cause: error }
    )
  }
}

/** @returns a peer as libp2p names it, at addresses that don't name it again */
export function found(id: Libp2pPeerId, multiaddrs: readonly Multiaddr[]): FoundPeer {
  const suffix = `/p2p/${id.toString()}`
  const addresses = multiaddrs.map((address) => address.toString().replace(suffix, ''))
  return { peer: peerId(id.toString()), addresses: addresses.slice(0, ADDRESS_COUNT_MAX) }
}
