// Talking to the node of a data folder: what every CLI command but `up` stands on.

import { request, type IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { ERROR_CODES, errorMessage, MeshError, type ErrorCode } from '../base/errors.ts'
import { readApiFile, type ApiFile } from '../node/data-folder.ts'

const ANSWER_BYTES_MAX = 16 * 1_048_576

export type CallOptions = {
  method?: 'GET' | 'POST'
  /** Sent as the body. */
  body?: Readable
  /** Length of the body, when it is known. */
  bodyBytes?: number | undefined
  signal?: AbortSignal | undefined
}

/** @throws unreachable when no node runs in the folder. */
export async function connectToNode(dataDir: string): Promise<ApiClient> {
  const api = await readApiFile(dataDir)
  if (api === undefined) throw notRunning(dataDir)
  return new ApiClient(dataDir, api)
}

/** Where a node serves its API. */
type ApiPlace = Pick<ApiFile, 'url' | 'token'> & Partial<ApiFile>

export class ApiClient {
  readonly #dataDir: string
  readonly #api: ApiPlace

  /** @param dataDir where the node lives, for messages */
  constructor(dataDir: string, api: ApiPlace) {
    this.#dataDir = dataDir
    this.#api = api
  }

  /** @returns the JSON of the answer. @throws what the node answered, as a MeshError of its code */
  async json<T>(path: string, options: CallOptions = {}): Promise<T> {
    const response = await this.stream(path, options)
    return parse(await textOf(response)) as T
  }

  /** @returns the lines of an answer as they come, each parsed as JSON. */
  async *lines<T extends object>(path: string, options: CallOptions = {}): AsyncGenerator<T> {
    const response = await this.stream(path, options)
    let rest = ''
    for await (const part of response.setEncoding('utf8')) {
      const lines = (rest + String(part)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const value = parse(line) as { error?: { code: string; message: string } }
        if (value.error !== undefined) throw errorOf(value.error)
        yield value as T
      }
    }
  }

  /** @returns the answer's body, to be read to its end. */
  async stream(path: string, options: CallOptions = {}): Promise<IncomingMessage> {
    const response = await this.#send(path, options)
    if (response.statusCode === 200) return response
    const { error } = parse(await textOf(response)) as { error?: { code: string; message: string } }
    throw errorOf(
      error ?? { code: 'internal', message: `The node answered ${response.statusCode}` }
    )
  }

  async #send(path: string, options: CallOptions): Promise<IncomingMessage> {
    const { body, bodyBytes } = options
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = request(
        new URL(`/v1/${path}`, this.#api.url),
        {
          method: options.method ?? 'GET',
          signal: options.signal,
          headers: {
            authorization: `Bearer ${this.#api.token}`,
            ...(bodyBytes === undefined ? {} : { 'content-length': bodyBytes })
          }
        },
        resolve
      )
      let sourceError: Error | undefined
      outgoing.once('error', (error: NodeJS.ErrnoException) => {
        if (sourceError !== undefined) reject(sourceError)
        else if (options.signal?.aborted === true) reject(options.signal.reason as Error)
        else if (error.code === 'ECONNREFUSED') reject(notRunning(this.#dataDir))
        else {
          reject(
            new MeshError(
              'unreachable',
              `The node in ${this.#dataDir} broke off: ${errorMessage(error)}`,
              {
                cause: error
              }
            )
          )
        }
      })
      if (body === undefined) {
        outgoing.end()
        return
      }
      body.once('error', (error) => {
        // The upload must not look complete: break it off.
        sourceError = error
        outgoing.destroy(error)
      })
      body.pipe(outgoing)
    })
  }
}

function notRunning(dataDir: string): MeshError {
  return new MeshError(
    'unreachable',
    `No node runs in ${dataDir}. Start one with "atoll up", or name another folder with --data`
  )
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = ''
  for await (const part of response.setEncoding('utf8')) {
    text += String(part)
    if (text.length > ANSWER_BYTES_MAX) throw new MeshError('too-large', 'The answer is too large')
  }
  return text
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new MeshError('invalid-data', 'The node gave an answer that is not JSON', {
      cause: error
    })
  }
}

function errorOf(error: { code: string; message: string }): MeshError {
  const code = error.code in ERROR_CODES ? (error.code as ErrorCode) : 'internal'
  return new MeshError(code, error.message)
}
