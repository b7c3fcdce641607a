// The node's end of the connections that programs have to it; see api-protocol.ts.

import { STATUS_CODES } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { assert } from '../../base/assert.ts'
import { MeshError, errorMessage, toMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { encode } from '../../core/machine/codec.ts'
import { CHANGES } from '../../core/machine/own-queries.ts'
import type { Query } from '../../core/machine/query.ts'
import type { ProtocolOptions, RequestHandler } from '../../net/network.ts'
import { RpcServer } from '../../net/rpc-server.ts'
import { systemClock } from '../../node/system-clock.ts'
import { SYSTEM } from '../../shard/shards.ts'
import type { Answered, CallOptions, Shards, Target } from '../../shard/shards.ts'
import type { Streams } from '../../services/streams/streams.ts'
import { failedResult } from '../../wire/shard-failure.ts'
import { encodeShardReply } from '../../wire/shard-reply.ts'
import type { ShardResult } from '../../wire/shard-reply.ts'
import { SYSTEM_GROUP, decodeShardRequest } from '../../wire/shard.ts'
import type { GroupTarget, QueryCall, ShardCall } from '../../wire/shard.ts'
import { STREAM_FRAME_BYTES_MAX, STREAM_SERVED_MAX } from '../../wire/stream.ts'
import { authorize } from '../authorize.ts'
import { ANSWER_MS, API_OPTIONS, API_PATH, API_UPGRADE } from './api-protocol.ts'
import { SHARDS_HEADER, STREAMS_PATH, STREAMS_UPGRADE, THE_PROGRAM } from './api-protocol.ts'
import { rawCodec } from './raw-codec.ts'
import { SocketFrameStream } from './socket-frame-stream.ts'
import { StreamServer } from './stream-server.ts'

/** What is needed of the node. */
type Parts = {
  node: { readonly shards?: Shards; readonly streams?: Streams }
  log: Logger
  token: string
}

/** What is served on a connection. */
type Service = {
  readonly upgrade: string
  readonly options: ProtocolOptions
  readonly handler: RequestHandler
  readonly onEnd?: () => void
}

/** Takes upgrades on a server. `close` ends all connections; the server itself is the caller's. */
export function serveConnections(server: Server, parts: Parts): { close(): void } {
  const open = new Set<RpcServer>()
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    try {
      const { service, count } = admit(request, parts)
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n' +
          `upgrade: ${service.upgrade}\r\n${SHARDS_HEADER}: ${count}\r\n\r\n`
      )
      open.add(serve(socket as Socket, { service, head, log: parts.log }, open))
    } catch (error) {
      parts.log.debug('api.connection_refused', { reason: errorMessage(error) })
      refuse(socket, toMeshError(error))
    }
  })
  return {
    close: () => {
      const reason = new MeshError('stopped', 'The node is stopping')
      for (const connection of open) connection.close(reason)
    }
  }
}

/** @throws unauthorized, not-found, unsupported-protocol */
function admit(
  request: IncomingMessage,
  { node, token }: Parts
): { service: Service; count: number } {
  authorize(request, token)
  const { shards, streams } = node
  const asked = `${request.url} ${request.headers.upgrade}`
  const isStreams = asked === `${STREAMS_PATH} ${STREAMS_UPGRADE}`
  if (asked !== `${API_PATH} ${API_UPGRADE}` && !isStreams) {
    throw new MeshError('not-found', `There is no upgrade to that at ${request.url}`)
  }
  if (shards === undefined || (isStreams && streams === undefined)) {
    throw new MeshError('unsupported-protocol', 'This node serves no shards; bring it up to date')
  }
  const service = isStreams ? streamService(streams as Streams) : shardService(shards)
  return { service, count: shards.count }
}

function serve(
  socket: Socket,
  { service, head, log }: { service: Service; head: Buffer; log: Logger },
  open: Set<RpcServer>
): RpcServer {
  const { options, handler, onEnd } = service
  const { frameBytesMax } = options
  const stream = new SocketFrameStream({ socket, clock: systemClock }, { frameBytesMax, head })
  const server: RpcServer = new RpcServer(
    { stream, clock: systemClock, log, isAdmitted: () => true },
    { peer: THE_PROGRAM, options, handler }
  )
  server.onEnd = () => {
    open.delete(server)
    onEnd?.()
  }
  return server
}

function shardService(shards: Shards): Service {
  return {
    upgrade: API_UPGRADE,
    options: API_OPTIONS,
    handler: async (body, { signal, timeoutMs = 0 }) => {
      const options = { signal, timeoutMs: Math.max(1, timeoutMs - ANSWER_MS) }
      const answers = decodeShardRequest(body).map(async (call) => {
        return await answer(shards, call, options)
      })
      return encodeShardReply(await Promise.all(answers))
    }
  }
}

/** */
function streamService(streams: Streams): Service {
  const server = new StreamServer(streams)
  return {
    upgrade: STREAMS_UPGRADE,
    options: { frameBytesMax: STREAM_FRAME_BYTES_MAX, servedPerPeerMax: STREAM_SERVED_MAX },
    handler: server.handle,
    onEnd: () => server.close()
  }
}

/** @returns what the call came to; failures too. Rejects never. */
async function answer(shards: Shards, call: ShardCall, options: CallOptions): Promise<ShardResult> {
  try {
    return await resultOf(shards, call, options)
  } catch (error) {
    return failedResult(toMeshError(error))
  }
}

async function resultOf(
  shards: Shards,
  call: ShardCall,
  options: CallOptions
): Promise<ShardResult> {
  if (call.kind === 'execute') {
    const { operation: name, version, args } = call.request
    const operation = { name, version, args: rawCodec, result: rawCodec }
    return done(
      await shards.execute(targetOf(call.target, call.request.space), operation, args, options)
    )
  }
  if (call.kind === 'query') {
    const asked = { ...options, isStale: call.isStale }
    return done(
      await shards.query(targetOf(call.target, call.space), rawQuery(call), call.args, asked)
    )
  }
  if (call.kind === 'changes') {
    const { waitMs } = call
    const page = await shards.changes(targetOf(call.target), call.query, { ...options, waitMs })
    return done({ revision: page.next - 1, result: encode(CHANGES.result, page).slice() })
  }
  throw new MeshError('unsupported-protocol', `A ${call.kind} is not for programs`)
}

function done({ revision, result }: Answered<Uint8Array>): ShardResult {
  return { kind: 'done', revision, result }
}

/** A query that is known by its name where the state is. */
function rawQuery({ name, version }: QueryCall): Query<Uint8Array, Uint8Array> {
  const read = (): never => assert(false, 'a query is read where the state is') as never
  return { name, version, args: rawCodec, result: rawCodec, read }
}

function targetOf(target: GroupTarget, space?: Uint8Array): Target {
  if ('space' in target) return target
  const { group } = target
  const shard = group === SYSTEM_GROUP ? SYSTEM : group - 1
  return space === undefined || space.length === 0 ? { shard } : { shard, space }
}

/** Refused before the upgrade: an answer as to any request. */
function refuse(socket: Duplex, { code, message }: MeshError): void {
  const status = code === 'unauthorized' ? 401 : code === 'not-found' ? 404 : 501
  const body = Buffer.from(`${JSON.stringify({ error: { code, message } })}\n`)
  socket.on('error', () => {})
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.toString()}`
  )
}
