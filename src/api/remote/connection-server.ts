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
import { RpcServer } from '../../net/rpc-server.ts'
import { systemClock } from '../../node/system-clock.ts'
import { SYSTEM } from '../../shard/shards.ts'
import type { Answered, CallOptions, Shards, Target } from '../../shard/shards.ts'
import { failedResult } from '../../wire/shard-failure.ts'
import { encodeShardReply } from '../../wire/shard-reply.ts'
import type { ShardResult } from '../../wire/shard-reply.ts'
import { SYSTEM_GROUP, decodeShardRequest } from '../../wire/shard.ts'
import type { GroupTarget, QueryCall, ShardCall } from '../../wire/shard.ts'
import { authorize } from '../authorize.ts'
import { ANSWER_MS, API_OPTIONS, API_PATH, API_UPGRADE } from './api-protocol.ts'
import { SHARDS_HEADER, THE_PROGRAM } from './api-protocol.ts'
import { rawCodec } from './raw-codec.ts'
import { SocketFrameStream } from './socket-frame-stream.ts'

/** What is needed of the node. */
type Parts = { node: { readonly shards?: Shards }; log: Logger; token: string }

/** Takes upgrades on a server. `close` ends all connections; the server itself is the caller's. */
export function serveConnections(server: Server, parts: Parts): { close(): void } {
  const open = new Set<RpcServer>()
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    try {
      const shards = admit(request, parts)
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n' +
          `upgrade: ${API_UPGRADE}\r\n${SHARDS_HEADER}: ${shards.count}\r\n\r\n`
      )
      open.add(serve(socket as Socket, { shards, head, log: parts.log }, open))
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
function admit(request: IncomingMessage, { node, token }: Parts): Shards {
  authorize(request, token)
  if (request.url !== API_PATH || request.headers.upgrade !== API_UPGRADE) {
    throw new MeshError('not-found', `There is no upgrade to that at ${request.url}`)
  }
  if (node.shards !== undefined) return node.shards
  throw new MeshError('unsupported-protocol', 'This node serves no shards; bring it up to date')
}

function serve(
  socket: Socket,
  { shards, head, log }: { shards: Shards; head: Buffer; log: Logger },
  open: Set<RpcServer>
): RpcServer {
  const { frameBytesMax } = API_OPTIONS
  const stream = new SocketFrameStream({ socket, clock: systemClock }, { frameBytesMax, head })
  const server: RpcServer = new RpcServer(
    { stream, clock: systemClock, log, isAdmitted: () => true },
    {
      peer: THE_PROGRAM,
      options: API_OPTIONS,
      handler: async (body, { signal, timeoutMs = 0 }) => {
        const options = { signal, timeoutMs: Math.max(1, timeoutMs - ANSWER_MS) }
        const answers = decodeShardRequest(body).map(async (call) => {
          return await answer(shards, call, options)
        })
        return encodeShardReply(await Promise.all(answers))
      }
    }
  )
  server.onEnd = () => open.delete(server)
  return server
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
