// Less to write for small messages. As they come, noise writes each of its messages in two parts,
// each a packet of its own, and yamux answers every message with one that gives its window back:
// of four writes one is the message. Both are seen to from outside, and left alone should a new
// version of either look otherwise.

import type { ConnectionEncrypter, MessageStream, Stream } from '@libp2p/interface'

/** The socket of a TCP connection. */
type Corkable = { cork(): void; uncork(): void }
type OverSocket = { socket?: Partial<Corkable>; sendData?: (data: unknown) => unknown }

/** Makes an encrypter write what it sends in one turn of the event loop at once. */
export function withJoinedWrites<Components>(
  create: (components: Components) => ConnectionEncrypter
): (components: Components) => ConnectionEncrypter {
  return (components) => {
    const encrypter = create(components)
    const secureInbound = encrypter.secureInbound.bind(encrypter)
    const secureOutbound = encrypter.secureOutbound.bind(encrypter)
    encrypter.secureInbound = (connection, options) => {
      joinWrites(connection)
      return secureInbound(connection, options)
    }
    encrypter.secureOutbound = (connection, options) => {
      joinWrites(connection)
      return secureOutbound(connection, options)
    }
    return encrypter
  }
}

function joinWrites(connection: MessageStream): void {
  const over = connection as OverSocket
  const { socket, sendData } = over
  if (typeof socket?.cork !== 'function' || typeof socket.uncork !== 'function') return
  if (sendData === undefined) return
  const corkable = socket as Corkable
  let isCorked = false
  over.sendData = (data) => {
    if (!isCorked) {
      isCorked = true
      corkable.cork()
      process.nextTick(() => {
        isCorked = false
        corkable.uncork()
      })
    }
    return sendData.call(connection, data)
  }
}

/** As far as a stream of yamux is looked into. */
type Windowed = {
  state?: unknown
  recvWindow?: unknown
  recvWindowCapacity?: unknown
  sendWindowUpdate?: () => void
}

/** `StreamState.Established` of yamux: before that an update carries what the other side waits for. */
const ESTABLISHED = 3

/** Makes a stream give its window back when half of it is used, not after each message. */
export function giveWindowBackByHalves(stream: Stream): void {
  const windowed = stream as Windowed
  const { sendWindowUpdate } = windowed
  if (typeof sendWindowUpdate !== 'function') return
  windowed.sendWindowUpdate = () => {
    const { state, recvWindow, recvWindowCapacity } = windowed
    const isKnown = typeof recvWindow === 'number' && typeof recvWindowCapacity === 'number'
    if (isKnown && state === ESTABLISHED && 2 * recvWindowCapacity > recvWindow) return
    sendWindowUpdate.call(stream)
  }
}
