// What the routes of the HTTP API share: a call, and an answer in JSON.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Node } from '../node/node.ts'

export type Call = {
  node: Node
  request: IncomingMessage
  response: ServerResponse
  url: URL
  signal: AbortSignal
}

/** @param parameter what follows the route's name in the path. */
export type Route = (call: Call, parameter: string) => Promise<void>

export function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(value)}\n`)
}
