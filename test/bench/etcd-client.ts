// The little of etcd's gRPC that the bench needs: many requests at a time on one HTTP/2 connection.

import { once } from 'node:events'
import { connect, type ClientHttp2Session } from 'node:http2'
import { concatBytes, utf8 } from '../../src/base/bytes.ts'
import { MIB } from '../../src/base/units.ts'

/** Before each message of gRPC: whether it is compressed, and its length. */
const PREFIX_BYTES = 5
const WINDOW_BYTES: number = 16 * MIB

/** A field of bytes, with a number below 16. */
function field(number: number, bytes: Uint8Array): Uint8Array[] {
  return [Uint8Array.of((number << 3) | 2), varint(bytes.length), bytes]
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest & 127) | 128)
  return Uint8Array.from([...bytes, rest])
}

/** @returns the fields of a message by their numbers, the last of each: varints, and bytes */
function fieldsOf(message: Uint8Array): Map<number, bigint | Uint8Array> {
  const fields = new Map<number, bigint | Uint8Array>()
  let offset = 0
  const next = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[offset++] ?? 0
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  while (offset < message.length) {
    const tag = Number(next())
    const type = tag & 7
    if (type !== 0 && type !== 2) throw new Error(`etcd sent a field of type ${type}`)
    if (type === 0) fields.set(tag >> 3, next())
    else {
      const length = Number(next())
      fields.set(tag >> 3, message.subarray(offset, offset + length))
      offset += length
    }
  }
  return fields
}

export class EtcdClient {
  readonly #session: ClientHttp2Session

  private constructor(session: ClientHttp2Session) {
    this.#session = session
    // Every request fails with it.
    session.on('error', () => {})
  }

  /** @param url of one member */
  static async connect(url: string): Promise<EtcdClient> {
    const session = connect(url, { settings: { initialWindowSize: WINDOW_BYTES } })
    await once(session, 'connect')
    session.setLocalWindowSize(WINDOW_BYTES)
    return new EtcdClient(session)
  }

  /** Durable on a majority when it resolves. */
  async put(key: string, value: Uint8Array): Promise<void> {
    await this.#call('/etcdserverpb.KV/Put', [...field(1, utf8(key)), ...field(2, value)])
  }

  /** Linearizable. @returns the value */
  async get(key: string): Promise<Uint8Array | undefined> {
    const answer = fieldsOf(await this.#call('/etcdserverpb.KV/Range', field(1, utf8(key))))
    const pair = answer.get(2)
    if (pair === undefined) return undefined
    return (fieldsOf(pair as Uint8Array).get(5) as Uint8Array | undefined) ?? new Uint8Array(0)
  }

  /** Whether the member that is asked leads. */
  async leads(): Promise<boolean> {
    const status = fieldsOf(await this.#call('/etcdserverpb.Maintenance/Status', []))
    const header = fieldsOf(status.get(1) as Uint8Array)
    return status.get(4) === header.get(2)
  }

  close(): void {
    this.#session.destroy()
  }

  async #call(path: string, parts: readonly Uint8Array[]): Promise<Uint8Array> {
    const body = new Uint8Array(PREFIX_BYTES)
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    new DataView(body.buffer).setUint32(1, length)
    return await new Promise<Uint8Array>((resolve, reject) => {
      const stream = this.#session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers'
      })
      const received: Uint8Array[] = []
      let status: unknown
      let problem: unknown
      const noteStatus = (headers: Readonly<Record<string, unknown>>): void => {
        status = headers['grpc-status'] ?? status
        problem = headers['grpc-message'] ?? problem
      }
      stream.on('response', noteStatus)
      stream.on('trailers', noteStatus)
      stream.on('data', (part: Uint8Array) => received.push(part))
      stream.on('error', reject)
      stream.on('close', () => {
        if (status !== '0') reject(new Error(`etcd answered ${String(status)}: ${String(problem)}`))
        else resolve(concatBytes(received).subarray(PREFIX_BYTES))
      })
      stream.end(concatBytes([body, ...parts]))
    })
  }
}
