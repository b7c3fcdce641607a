// Addresses as people give them.

import { multiaddr } from '@multiformats/multiaddr'
import { errorMessage, MeshError } from '../../base/errors.ts'
import { ADDRESS_LENGTH_MAX } from '../../base/limits.ts'
import type { Address } from '../network.ts'

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
