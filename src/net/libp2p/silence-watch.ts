// Gives up connections on which nothing comes any more: TCP would try ever more seldom, and be back
// late by as long as the line was cut. Those that carry something needn't be asked, which is what
// libp2p's own monitor does with all of them, by a new stream each time.

import type { Connection, Stream } from '@libp2p/interface'
import { AdaptiveTimeout, byteStream } from '@libp2p/utils'
import type { Clock, Timer } from '../../base/clock.ts'
import { toMeshError } from '../../base/errors.ts'

const PING_PROTOCOL = '/ipfs/ping/1.0.0'
const PING_BYTES = 32
/** A connection on which nothing came since the last look is asked; so after twice that at most. */
const LOOK_MS = 1_500
const TIMEOUT = { minTimeout: 1_500, maxTimeout: 3_000 }

type Heard = { isHeard: boolean }

export class SilenceWatch {
  readonly #clock: Clock
  readonly #connections: () => readonly Connection[]
  readonly #heard = new WeakMap<Connection, Heard>()
  readonly #asked = new WeakSet<Connection>()
  readonly #timeout = new AdaptiveTimeout(TIMEOUT)
  readonly #stopping = new AbortController()
  #timer: Timer | undefined

  constructor(clock: Clock, connections: () => readonly Connection[]) {
    this.#clock = clock
    this.#connections = connections
  }

  start(): void {
    this.#timer = this.#clock.after(LOOK_MS, () => {
      this.start()
      for (const connection of this.#connections()) this.#look(connection)
    })
  }

  stop(): void {
    this.#timer?.cancel()
    this.#stopping.abort()
  }

  /** What comes on the stream shows that its connection works. */
  follow(stream: Stream, connection: Connection): void {
    const heard = this.#of(connection)
    stream.addEventListener('message', () => {
      heard.isHeard = true
    })
  }

  #of(connection: Connection): Heard {
    const known = this.#heard.get(connection)
    if (known !== undefined) return known
    const heard = { isHeard: false }
    this.#heard.set(connection, heard)
    return heard
  }

  #look(connection: Connection): void {
    const heard = this.#of(connection)
    if (!heard.isHeard && !this.#asked.has(connection)) void this.#ask(connection)
    heard.isHeard = false
  }

  /** Never rejects. */
  async #ask(connection: Connection): Promise<void> {
    this.#asked.add(connection)
    const signal = this.#timeout.getTimeoutSignal({ signal: this.#stopping.signal })
    let stream: Stream | undefined
    try {
      stream = await connection.newStream(PING_PROTOCOL, { signal })
      const bytes = byteStream(stream)
      await Promise.all([
        bytes.write(new Uint8Array(PING_BYTES), { signal }),
        bytes.read({ bytes: PING_BYTES, signal })
      ])
      await stream.close({ signal })
    } catch (error) {
      stream?.abort(toMeshError(error))
      if (!this.#stopping.signal.aborted) connection.abort(toMeshError(error, 'unreachable'))
    } finally {
      this.#timeout.cleanUp(signal)
      this.#asked.delete(connection)
    }
  }
}
