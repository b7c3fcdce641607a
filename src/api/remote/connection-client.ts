// A program's end of the connection to its node; see api-protocol.ts.

import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { ERROR_CODES, MeshError, errorMessage } from '../../base/errors.ts'
import type { ErrorCode } from '../../base/errors.ts'
import { systemClock } from '../../node/system-clock.ts'
import { API_OPTIONS, API_PATH, API_UPGRADE, SHARDS_HEADER } from './api-protocol.ts'
import { STREAMS_PATH, STREAMS_UPGRADE } from './api-protocol.ts'
import { SocketFrameStream } from './socket-frame-stream.ts'

/** A refusal in words. */
const REFUSAL_LENGTH_MAX = 16_384
const SHARD_COUNT_MAX = 65_535

/** Where a node serves its API, and what it wants to be told. */
export type ApiAddress = {
  /** Such as `http://127.0.0.1:46789`. */
  readonly api: string
  readonly token: string
}

/** What it is for: calls to shards, or streams. */
export type ConnectionKind = 'shards' | 'streams'

const PATHS: Readonly<Record<ConnectionKind, { path: string; upgrade: string }>> = {
  shards: { path: API_PATH, upgrade: API_UPGRADE },
  streams: { path: STREAMS_PATH, upgrade: STREAMS_UPGRADE }
}

export type OpenConnection = { readonly stream: SocketFrameStream; readonly shardCount: number }

/** @throws unreachable, unauthorized, unsupported-protocol, invalid-argument, or the signal's reason */
export async function openConnection(
  { api, token }: ApiAddress,
  { signal, kind = 'shards' }: { signal: AbortSignal; kind?: ConnectionKind | undefined }
): Promise<OpenConnection> {
  const { path, upgrade } = PATHS[kind]
  const url = parseUrl(api, path)
  return await new Promise<OpenConnection>((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${token}`,
      connection: 'upgrade',
      upgrade
    }
    const asking = request(url, { headers, signal, agent: false })
    asking.once('error', (error) => {
      if (signal.aborted) reject(signal.reason as Error)
      else reject(unreachable(api, error))
    })
    asking.once('response', (response) => {
      readRefusal(response, api).then(reject, (error: unknown) => reject(unreachable(api, error)))
    })
    asking.once('upgrade', (response, socket, head) => {
      const shardCount = Number(response.headers[SHARDS_HEADER])
      if (!Number.isInteger(shardCount) || shardCount < 1 || shardCount > SHARD_COUNT_MAX) {
        socket.destroy()
        reject(new MeshError('invalid-data', `${api} does not tell how many shards there are`))
        return
      }
      const { frameBytesMax } = API_OPTIONS
      const components = { socket, clock: systemClock }
      resolve({ stream: new SocketFrameStream(components, { frameBytesMax, head }), shardCount })
    })
    asking.end()
  })
}

function parseUrl(api: string, path: string): URL {
  const url = URL.parse(path, api)
  if (url !== null && url.protocol === 'http:') return url
  const advice = 'it is a URL such as http://127.0.0.1:46789, which "atoll up" prints'
  throw new MeshError('invalid-argument', `Cannot connect to "${api}": ${advice}`)
}

async function readRefusal(response: IncomingMessage, api: string): Promise<MeshError> {
  let text = ''
  for await (const part of response.setEncoding('utf8')) {
    text += String(part)
    if (text.length > REFUSAL_LENGTH_MAX) break
  }
  const { code, message } = parseRefusal(text)
  if (code in ERROR_CODES) return new MeshError(code as ErrorCode, message)
  const problem = `it answered ${response.statusCode}, as no node does`
  return new MeshError('unsupported-protocol', `Cannot connect to ${api}: ${problem}`)
}

function parseRefusal(text: string): { code: string; message: string } {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown; message?: unknown } }
    return { code: String(error?.code), message: String(error?.message) }
  } catch {
    return { code: '', message: '' }
  }
}

function unreachable(api: string, error: unknown): MeshError {
  const problem = `Cannot connect to the node at ${api}: ${errorMessage(error)}; is it running?`
  return new MeshError('unreachable', problem, { cause: error })
}
