// The demo's files: a folder that goes in through one node and comes out of others.

import { createHash } from 'node:crypto'
import { relative } from 'node:path'
import { Readable } from 'node:stream'
import { MeshError } from '../../base/errors.ts'
import { readUnchangedFile } from '../../node/file-source.ts'
import type { PutResult } from '../../services/files/files.ts'
import type { ApiClient } from '../http-client.ts'
import { listFiles } from './folder.ts'
import { Progress, type Console } from './output.ts'

const TRANSFERS_AT_ONCE = 4

export type DemoFile = { path: string; bytes: number; hash: string; cid: string }

export class DemoFiles {
  readonly #console: Console
  readonly #signal: AbortSignal

  constructor(context: { console: Console; signal: AbortSignal }) {
    this.#console = context.console
    this.#signal = context.signal
  }

  /** Puts every file of a folder in, but those in folders of a name in `skip`. */
  async putFolder(client: ApiClient, folder: string, skip: readonly string[]): Promise<DemoFile[]> {
    const found = await listFiles(folder, skip)
    const files: DemoFile[] = []
    const progress = this.#progress('put', found)
    await this.#each(found, async ({ path, bytes }) => {
      const { cid, hash } = await this.#put(client, path, bytes)
      files.push({ path: relative(folder, path), bytes, hash, cid })
      progress.add(bytes)
    })
    progress.end()
    return files
  }

  /** Gives a file a name, which leads to the blocks that are there already. */
  async putNamed(client: ApiClient, path: string, name: string): Promise<void> {
    const query = new URLSearchParams({ name }).toString()
    const body = Readable.from(readUnchangedFile(path), { objectMode: false })
    await client.json(`files?${query}`, { method: 'POST', body, signal: this.#signal })
  }

  /** @throws corrupt when a file came back different */
  async readAll(client: ApiClient, files: readonly DemoFile[]): Promise<void> {
    const progress = this.#progress('get', files)
    await this.#each(files, async (file) => {
      await this.check(client, file.cid, file)
      progress.add(file.bytes)
    })
    progress.end()
  }

  /** Reads a file by CID or name. @throws corrupt when it came back different */
  async check(client: ApiClient, name: string, file: DemoFile): Promise<void> {
    const hash = createHash('sha256')
    const query = new URLSearchParams({ name }).toString()
    for await (const part of await client.stream(`files?${query}`, { signal: this.#signal })) {
      hash.update(part as Uint8Array)
    }
    if (hash.digest('hex') === file.hash) return
    throw new MeshError('corrupt', `${file.path} came back different`)
  }

  async #put(
    client: ApiClient,
    path: string,
    bodyBytes: number
  ): Promise<{ cid: string; hash: string }> {
    const hash = createHash('sha256')
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for await (const part of readUnchangedFile(path)) {
        hash.update(part)
        yield part
      }
    }
    const body = Readable.from(source(), { objectMode: false })
    const options = { method: 'POST', body, bodyBytes, signal: this.#signal } as const
    const { cid } = await client.json<PutResult>('files', options)
    return { cid, hash: hash.digest('hex') }
  }

  #progress(
    what: string,
    files: readonly { readonly bytes: number }[]
  ): { add: (bytes: number) => void; end: () => void } {
    const progress = new Progress(this.#console, { label: `  ${what}`, total: sumOf(files) })
    let done = 0
    return {
      add: (bytes) => {
        done += bytes
        progress.update(done)
      },
      end: () => progress.end()
    }
  }

  /** Runs `work` on every item, a few at once; the first error ends it. */
  async #each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
    let next = 0
    const worker = async (): Promise<void> => {
      for (let item = items[next++]; item !== undefined; item = items[next++]) {
        this.#signal.throwIfAborted()
        await work(item)
      }
    }
    await Promise.all(Array.from({ length: TRANSFERS_AT_ONCE }, worker))
  }
}

export function sumOf(files: readonly { readonly bytes: number }[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0)
}
