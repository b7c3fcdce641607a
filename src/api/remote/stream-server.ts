// The node's end of the streams of a program: protocols/stream over a connection of its own.

import { MeshError } from '../../base/errors.ts'
import type { RequestHandler } from '../../net/network.ts'
import type { Inbox, Streams } from '../../services/streams/streams.ts'
import { decodeStreamCall, encodeStreamReply, type StreamCall } from '../../wire/stream.ts'

/** The inboxes of one connection. They go with it. */
export class StreamServer {
  readonly #streams: Streams
  readonly #inboxes = new Map<string, Inbox>()

  constructor(streams: Streams) {
    this.#streams = streams
  }

  readonly handle: RequestHandler = async (body, { signal }) => {
    const call = decodeStreamCall(body)
    switch (call.kind) {
      case 'send': {
        const { peer = this.#streams.self } = call
        const credit = await this.#streams.send(peer, copied(call), { signal })
        return encodeStreamReply({ kind: 'taken', credit })
      }
      case 'open': {
        this.#inboxes.set(call.inbox, this.#streams.open(call.inbox))
        return encodeStreamReply({ kind: 'opened', peer: this.#streams.self })
      }
      case 'receive': {
        const inbox = this.#inboxes.get(call.inbox)
        // T-4: what others opened isn't there for this program.
        if (inbox === undefined) {
          throw new MeshError('not-found', `This connection has no inbox "${call.inbox}"`)
        }
        const batches = await inbox.receive({ signal })
        return encodeStreamReply({ kind: 'received', batches })
      }
    }
  }

  close(): void {
    for (const inbox of this.#inboxes.values()) inbox.close()
    this.#inboxes.clear()
  }
}

/** A view would keep all that came with it in memory for as long as it waits. */
function copied({ inbox, from, batch }: StreamCall & { kind: 'send' }): {
  inbox: string
  from: string
  batch: Uint8Array
} {
  return { inbox, from, batch: batch.slice() }
}
