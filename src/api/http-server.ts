// The local HTTP API: what the CLI and other programs on this machine talk to. Loopback only, with
// a token from the data folder, and deaf to web pages.

import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { errorMessage, MeshError, toMeshError, type ErrorCode } from '../base/errors.ts'
import { peerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { parseSize } from '../base/units.ts'
import type { Node } from '../node/node.ts'
import { shardNameOf, type Shards } from '../shard/shards.ts'
import { authorize } from './authorize.ts'
import { diagnose } from './doctor.ts'
import { FILE_ROUTES } from './file-routes.ts'
import { JOB_ROUTES } from './job-routes.ts'
import { serveConnections } from './remote/connection-server.ts'
import { sendJson, type Call, type Route } from './route.ts'

export type HttpApi = {
  readonly url: string
  readonly token: string
  close(): Promise<void>
}

/** What an error code looks like to an HTTP client; 500 unless listed. */
const HTTP_STATUS: Partial<Record<ErrorCode, number>> = {
  'invalid-argument': 400,
  'invalid-range': 416,
  'invalid-data': 400,
  'file-changed': 409,
  exists: 409,
  conflict: 409,
  'cross-volume': 409,
  'not-empty': 409,
  'not-a-directory': 409,
  'is-a-directory': 409,
  unauthorized: 401,
  'not-found': 404,
  'too-large': 413,
  overloaded: 429,
  'disk-full': 507,
  'no-quorum': 503,
  timeout: 504,
  unreachable: 503,
  stopped: 503
}

const CONNECTIONS_MAX = 256

/** By method and first part of the path after /v1; the rest of the path is the parameter. */
const ROUTES: Readonly<Record<string, Route>> = {
  'GET status': async ({ node, response }) => sendJson(response, await node.status()),
  'GET ring': async ({ node, response }) => sendJson(response, ringOf(node)),
  'GET shards': async ({ node, response }) => sendJson(response, await node.groups.report()),
  'GET recover': async ({ node, response }, name) =>
    sendJson(response, await node.groups.planRecovery(shardNameOf(name))),
  'POST recover': async ({ node, response, signal }, name) =>
    sendJson(response, await node.groups.recover(shardNameOf(name), { signal })),
  'GET doctor': async ({ node, response }) => sendJson(response, await diagnose(node)),
  ...FILE_ROUTES,
  ...JOB_ROUTES,
  'POST evict': async ({ node, response }, peer) => {
    await node.evict(peerId(peer))
    sendJson(response, { evicted: peer })
  },
  'POST scrub': scrub,
  'POST leave': leave
}

/** @param options.host a loopback address; @param options.port 0 takes a free one */
export async function serveHttpApi(
  components: { node: Node & { readonly shards?: Shards }; log: Logger },
  options: { host: string; port: number }
): Promise<HttpApi> {
  const token = randomBytes(24).toString('base64url')
  const server = createServer((request, response) => {
    void answer(components, request, response, { token, server })
  })
  server.maxConnections = CONNECTIONS_MAX
  // A put may take as long as it takes.
  server.requestTimeout = 0
  const connections = serveConnections(server, { ...components, token })
  const port = await listen(server, options)
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  return {
    url: `http://${host}:${port}`,
    token,
    close: async () => {
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
        connections.close()
      })
    }
  }
}

/** @throws invalid-argument unless `host` is one that only this machine reaches */
export function checkApiHost(host: string): void {
  if (['127.0.0.1', '::1', 'localhost'].includes(host)) return
  throw new MeshError(
    'invalid-argument',
    `Cannot serve the API on ${host}: it is for this machine only; use 127.0.0.1`
  )
}

async function listen(server: Server, options: { host: string; port: number }): Promise<number> {
  checkApiHost(options.host)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new MeshError(
          'unreachable',
          `Cannot serve the API on ${options.host}:${options.port}: ${errorMessage(error)}; ` +
            'choose another with --api HOST:PORT',
          { cause: error }
        )
      )
    })
    server.listen(options.port, options.host, resolve)
  })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : options.port
}

async function answer(
  components: { node: Node; log: Logger },
  request: IncomingMessage,
  response: ServerResponse,
  context: { token: string; server: Server }
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => gone.abort(new MeshError('aborted', 'The client went away')))
  try {
    authorize(request, context.token)
    const url = new URL(request.url ?? '/', 'http://localhost')
    const [version, name = '', ...rest] = url.pathname.slice(1).split('/')
    const route = version === 'v1' ? ROUTES[`${request.method} ${name}`] : undefined
    if (route === undefined)
      throw new MeshError('not-found', `There is no ${request.method} ${url.pathname}`)
    const call = { node: components.node, request, response, url, signal: gone.signal }
    await route(call, decodeURIComponent(rest.join('/')))
  } catch (error) {
    if (!gone.signal.aborted) {
      components.log.debug('api.failed', { url: request.url, reason: errorMessage(error) })
    }
    sendError(response, toMeshError(error))
  }
}

function ringOf(node: Node): object {
  const names = new Map(node.mesh.members().map(({ record }) => [record.peerId, record.name]))
  const report = node.ring()
  const { version, hash } = node.mesh.layout()
  return {
    version,
    hash,
    ...report,
    peers: report.peers.map((peer) => ({ name: names.get(peer.id) ?? '', ...peer }))
  }
}

async function scrub({ node, response, url, signal }: Call): Promise<void> {
  const rate = url.searchParams.get('rate')
  const results = await node.scrub({
    signal,
    ...(rate === null ? {} : { bytesPerSecond: Math.max(1, parseSize(rate)) })
  })
  sendJson(response, { nodes: results })
}

/** Progress as it comes, one JSON value per line; then the end of the answer, and of the node. */
async function leave({ node, response, signal }: Call): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  let last = -1
  try {
    await node.leave({
      signal,
      onProgress: (blocksLeft) => {
        if (blocksLeft !== last) response.write(`${JSON.stringify({ blocksLeft })}\n`)
        last = blocksLeft
      },
      onDone: () => response.end(`${JSON.stringify({ left: true })}\n`)
    })
  } catch (error) {
    const { code, message } = toMeshError(error)
    response.end(`${JSON.stringify({ error: { code, message } })}\n`)
  }
}

/** Takes no more of the request; the rest of an upload has no use. */
function sendError(response: ServerResponse, error: MeshError): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const { code, message } = error
  const status = HTTP_STATUS[code] ?? 500
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' })
  response.end(`${JSON.stringify({ error: { code, message } })}\n`)
}
