// Who may use the local API.

import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { utf8 } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'

/**
 * A page in a browser can reach loopback, but not with this token, host and without an origin.
 *
 * @throws unauthorized
 */
export function authorize(request: IncomingMessage, token: string): void {
  const host = (request.headers.host ?? '').replace(/:\d+$/, '')
  const isLocal = ['127.0.0.1', 'localhost', '[::1]'].includes(host)
  const given = utf8(request.headers.authorization ?? '')
  const wanted = utf8(`Bearer ${token}`)
  const matches = given.length === wanted.length && timingSafeEqual(given, wanted)
  if (!matches || !isLocal || request.headers.origin !== undefined) {
    throw new MeshError(
      'unauthorized',
      'The local API wants the token from the data folder (api.json)'
    )
  }
}
