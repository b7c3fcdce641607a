// The code of tasks as files, which threads import. Kept for the life of the node, up to a bound:
// what was used last longest ago goes first.

import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MeshError, errorMessage } from '../../base/errors.ts'
import { MIB } from '../../base/units.ts'
import { CODE_BYTES_MAX, type Code, type LoadCode } from '../executor.ts'

const FILES_MAX = 128
const BYTES_MAX: number = 256 * MIB

type LoadedCode = Extract<Code, { cid: string }>
type Entry = { readonly path: string; readonly bytes: number; userCount: number }
type Loading = { readonly abort: AbortController; readonly done: Promise<Entry>; waiting: number }

export class CodeCache {
  readonly folder: string
  readonly #loadCode: LoadCode
  /** By the name of the file; those used last come last. */
  readonly #entries = new Map<string, Entry>()
  readonly #loading = new Map<string, Loading>()
  #bytes = 0

  constructor(loadCode: LoadCode, folder: string) {
    this.#loadCode = loadCode
    this.folder = folder
  }

  /** Makes the folder; empties it when a node that was killed left something there. */
  async prepare(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
    await mkdir(this.folder, { recursive: true })
  }

  async remove(): Promise<void> {
    for (const { abort } of this.#loading.values()) abort.abort()
    await rm(this.folder, { recursive: true, force: true })
  }

  /** @returns the file, kept until it is released; undefined when it has to be loaded */
  use(code: LoadedCode): string | undefined {
    const name = nameOf(code)
    const entry = this.#entries.get(name)
    if (entry === undefined) return undefined
    this.#entries.delete(name)
    this.#entries.set(name, entry)
    entry.userCount += 1
    return entry.path
  }

  release(code: LoadedCode): void {
    const entry = this.#entries.get(nameOf(code))
    if (entry !== undefined) entry.userCount -= 1
  }

  /** As `use`, after loading it. @throws what loading it throws, or the signal's reason */
  async load(code: LoadedCode, signal: AbortSignal): Promise<string> {
    const name = nameOf(code)
    const loading = this.#loading.get(name) ?? this.#start(code, name)
    loading.waiting += 1
    const { promise, reject } = Promise.withResolvers<never>()
    const onAbort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      await Promise.race([loading.done, promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
      loading.waiting -= 1
      if (loading.waiting === 0) loading.abort.abort(signal.reason)
    }
    return this.use(code) ?? (await this.load(code, signal))
  }

  #start(code: LoadedCode, name: string): Loading {
    const abort = new AbortController()
    const done = this.#fetch(code, name, abort.signal).finally(() => this.#loading.delete(name))
    // Told to those who wait; they may all have gone.
    done.catch(() => {})
    const loading = { abort, done, waiting: 0 }
    this.#loading.set(name, loading)
    return loading
  }

  async #fetch(code: LoadedCode, name: string, signal: AbortSignal): Promise<Entry> {
    const bytes = await this.#loadCode(code.cid, { signal })
    if (bytes.length > CODE_BYTES_MAX) {
      const sizes = `${bytes.length} bytes, at most ${CODE_BYTES_MAX}`
      throw new MeshError('too-large', `The code ${code.cid} has ${sizes}`)
    }
    signal.throwIfAborted()
    const path = join(this.folder, name)
    try {
      await writeFile(`${path}.part`, bytes)
      await rename(`${path}.part`, path)
    } catch (error) {
      const message = `Cannot keep the code of a task in ${path}: ${errorMessage(error)}`
      throw new MeshError('storage-failed', message, { cause: error })
    }
    const entry = { path, bytes: bytes.length, userCount: 0 }
    this.#entries.set(name, entry)
    this.#bytes += entry.bytes
    await this.#makeRoom(name)
    return entry
  }

  async #makeRoom(latest: string): Promise<void> {
    for (const [name, { path, bytes, userCount }] of this.#entries) {
      if (this.#entries.size <= FILES_MAX && this.#bytes <= BYTES_MAX) return
      if (userCount > 0 || name === latest) continue
      this.#entries.delete(name)
      this.#bytes -= bytes
      await rm(path, { force: true })
    }
  }
}

function nameOf({ kind, cid }: LoadedCode): string {
  return `${cid}.${kind === 'bundle' ? 'mjs' : 'wasm'}`
}
