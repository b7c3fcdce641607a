// Files of the mesh for a program that is no node: what they are and what they are called goes as
// small requests, their bytes as streams of their own.

import { Readable } from 'node:stream'
import { MIB } from '../../base/units.ts'
import type { CallOptions } from '../../services/files/dag-store.ts'
import type {
  DirectoryItem,
  Files,
  FileSource,
  FileStat,
  GetOptions,
  PutOptions,
  PutResult
} from '../../services/files/files.ts'
import type { ApiClient } from '../http-client.ts'

type Answered<T> = Omit<T, 'cid'> & { cid: string | null }
type Fields = Readonly<Record<string, string | number | boolean | undefined>>

/** As `node.files`, over the local API: see {@link Files} for what each method does and throws. */
export class RemoteFiles implements Pick<
  Files,
  'put' | 'get' | 'stat' | 'ls' | 'mkdir' | 'mv' | 'rm'
> {
  readonly #client: () => Promise<ApiClient>

  /** @param client finds the node, which may have been restarted since the last call */
  constructor(client: () => Promise<ApiClient>) {
    this.#client = client
  }

  async put(source: FileSource, options?: PutOptions): Promise<PutResult>
  async put(path: string | undefined, source: FileSource, options?: PutOptions): Promise<PutResult>
  async put(
    first: FileSource | string | undefined,
    second: FileSource | PutOptions | undefined,
    third?: PutOptions
  ): Promise<PutResult> {
    const isNamed = first === undefined || typeof first === 'string'
    const options = (isNamed ? third : (second as PutOptions | undefined)) ?? {}
    const source = (isNamed ? second : first) as FileSource
    const name = typeof first === 'string' ? first : undefined
    const { replace, append, expectedVersion: version, signal } = options
    const parts = source instanceof Uint8Array ? [source] : source
    let bytes = 0
    const counted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const part of parts) {
        bytes += part.length
        options.onProgress?.({ bytes })
        yield part
      }
    }
    const body = Readable.from(counted(), { objectMode: false, highWaterMark: MIB })
    const client = await this.#client()
    const path = `files?${queryOf({ name, replace, append, version })}`
    return await client.json<PutResult>(path, { method: 'POST', body, signal })
  }

  async *get(name: string, options: GetOptions = {}): AsyncGenerator<Uint8Array> {
    const { offset, length, version, signal } = options
    const client = await this.#client()
    const path = `files?${queryOf({ name, offset, length, version })}`
    const response = await client.stream(path, { signal })
    try {
      for await (const part of response) yield part as Uint8Array
    } finally {
      response.destroy()
    }
  }

  async stat(name: string, { signal }: CallOptions = {}): Promise<FileStat> {
    const client = await this.#client()
    return named(await client.json<Answered<FileStat>>(`stat?${queryOf({ name })}`, { signal }))
  }

  async *ls(name?: string, { signal }: CallOptions = {}): AsyncGenerator<DirectoryItem> {
    const client = await this.#client()
    const items = client.lines<Answered<DirectoryItem>>(`ls?${queryOf({ name })}`, { signal })
    for await (const item of items) yield named(item)
  }

  async mkdir(
    name: string,
    { parents = true, signal }: CallOptions & { parents?: boolean | undefined } = {}
  ): Promise<void> {
    await this.#post('mkdir', { name, strict: parents ? undefined : true }, signal)
  }

  async mv(
    from: string,
    to: string,
    { replace, signal }: CallOptions & { replace?: boolean | undefined } = {}
  ): Promise<void> {
    await this.#post('mv', { from, to, replace }, signal)
  }

  async rm(
    name: string,
    { recursive, signal }: CallOptions & { recursive?: boolean | undefined } = {}
  ): Promise<void> {
    await this.#post('rm', { name, recursive }, signal)
  }

  async #post(route: string, fields: Fields, signal: AbortSignal | undefined): Promise<void> {
    const client = await this.#client()
    await client.json<object>(`${route}?${queryOf(fields)}`, { method: 'POST', signal })
  }
}

/** What isn't given, or is off, isn't said. */
function queryOf(fields: Fields): string {
  const query = new URLSearchParams()
  for (const [field, value] of Object.entries(fields)) {
    if (value !== undefined && value !== false) query.set(field, String(value))
  }
  return query.toString()
}

/** JSON has no undefined. */
function named<T extends { cid: string | undefined }>(answer: Answered<T>): T {
  return { ...answer, cid: answer.cid ?? undefined } as unknown as T
}
