// A connection to a peer, whichever side opens it: a dial under way may hang on a path that is
// broken while the other side comes in by one that works.

import type { PeerId } from '../base/ids.ts'
import type { Unsubscribe } from './network.ts'

export type Ways<C> = {
  /** One that is there. */
  readonly open: () => C | undefined
  readonly onConnected: (listener: (peer: PeerId) => void) => Unsubscribe
  readonly dial: () => Promise<C>
}

/**
 * @returns the first of what is there, what is dialled, and what comes in meanwhile. The dial isn't
 *   ended then: what came in may be its own connection, told before it was done.
 */
export async function firstConnection<C>(peer: PeerId, ways: Ways<C>): Promise<C> {
  const open = ways.open()
  if (open !== undefined) return open
  const incoming = Promise.withResolvers<C>()
  const unsubscribe = ways.onConnected((connected) => {
    const connection = connected === peer ? ways.open() : undefined
    if (connection !== undefined) incoming.resolve(connection)
  })
  try {
    return await Promise.race([incoming.promise, ways.dial()])
  } finally {
    unsubscribe()
  }
}
