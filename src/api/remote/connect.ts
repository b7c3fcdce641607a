// What a program that is no node uses: the services of a mesh over a connection to one of its nodes.

import { MeshError, isMeshError } from '../../base/errors.ts'
import { silentLogger } from '../../base/log.ts'
import type { Logger } from '../../base/log.ts'
import { SECOND_MS } from '../../base/units.ts'
import { readApiFile } from '../../node/data-folder.ts'
import { systemClock } from '../../node/system-clock.ts'
import { Kv } from '../../services/kv/kv.ts'
import { Locks } from '../../services/locks/locks.ts'
import type { Compute } from '../../services/compute/compute.ts'
import { Programs } from '../../services/compute/programs.ts'
import { ApiClient } from '../http-client.ts'
import { openConnection } from './connection-client.ts'
import type { ApiAddress, ConnectionKind } from './connection-client.ts'
import { remoteCompute } from './remote-compute.ts'
import { RemoteFiles } from './remote-files.ts'
import { RemoteShards } from './remote-shards.ts'
import { RemoteStreams } from './remote-streams.ts'

const CONNECT_MS: number = 10 * SECOND_MS

export type ConnectOptions = (
  | ApiAddress
  /** The node's data folder: found there again when the node was restarted. */
  | { readonly dataDir: string }
) & {
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal | undefined
  readonly logger?: Logger | undefined
}

/** The services of a mesh. Holds a connection, and the process with it, until it is closed. */
export class RemoteNode extends Programs {
  readonly kv: Kv
  readonly locks: Locks
  readonly files: RemoteFiles
  readonly compute: Compute
  readonly streams: RemoteStreams
  readonly #shards: RemoteShards

  /** Made by {@link connect}. */
  constructor(
    components: { shards: RemoteShards; streams: RemoteStreams; log: Logger },
    client: () => Promise<ApiClient>
  ) {
    super()
    const { shards, streams, log } = components
    const basic = { shards, clock: systemClock, log }
    const files = new RemoteFiles(client)
    this.kv = new Kv(basic)
    this.locks = new Locks(basic)
    this.streams = streams
    this.files = files
    this.compute = remoteCompute({ shards, files, client })
    this.#shards = shards
  }

  /** Gives locks and leases back and ends the connection. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.kv.stop(), this.locks.stop()])
    this.#shards.stop()
    this.streams.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Connects to a node of this machine. When the connection breaks it is made again; commands that
 * were under way then reject with `unreachable`, and may have been done.
 *
 * @example
 * ```ts
 * await using mesh = await connect({ dataDir: '/home/pi/.atoll' })
 * await mesh.kv.put('config/colour', 'blue')
 * ```
 * @throws unreachable, unauthorized, unsupported-protocol, invalid-argument, or the signal's reason
 */
export async function connect(options: ConnectOptions): Promise<RemoteNode> {
  const log = options.logger ?? silentLogger
  const open = async (
    { signal }: { signal: AbortSignal },
    kind: ConnectionKind = 'shards'
  ): ReturnType<typeof openConnection> => {
    const address = await addressOf(options)
    try {
      return await openConnection(address, { signal, kind })
    } catch (error) {
      // A node that was restarted listens a moment before its new token is in the folder.
      if ('api' in options || !isMeshError(error, 'unauthorized')) throw error
      throw new MeshError('unreachable', error.message, { cause: error })
    }
  }
  const late = new AbortController()
  const timer = systemClock.after(CONNECT_MS, () =>
    late.abort(new MeshError('unreachable', `The node did not answer within ${CONNECT_MS} ms`))
  )
  try {
    const signals = options.signal === undefined ? [] : [options.signal]
    const first = await open({ signal: AbortSignal.any([late.signal, ...signals]) })
    const shards = new RemoteShards({ open, clock: systemClock, log }, first)
    const streams = new RemoteStreams({
      open: async (calls) => await open(calls, 'streams'),
      clock: systemClock,
      log
    })
    return new RemoteNode({ shards, streams, log }, async () => await clientOf(options))
  } finally {
    timer.cancel()
  }
}

async function clientOf(options: ConnectOptions): Promise<ApiClient> {
  const { api: url, token } = await addressOf(options)
  return new ApiClient('dataDir' in options ? options.dataDir : url, { url, token })
}

async function addressOf(options: ConnectOptions): Promise<ApiAddress> {
  if ('api' in options) return options
  const { dataDir } = options
  const file = await readApiFile(dataDir)
  if (file !== undefined) return { api: file.url, token: file.token }
  const advice = 'Start one with "atoll up", or name another folder'
  throw new MeshError('unreachable', `No node runs in ${dataDir}. ${advice}`)
}
