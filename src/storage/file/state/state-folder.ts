// The folder of LMDB's files: what is so damaged that LMDB would end the process over it is found
// before it is opened, and set aside. (D-17)

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { utf8 } from '../../../base/bytes.ts'
import { errorMessage } from '../../../base/errors.ts'
import type { Logger } from '../../../base/log.ts'
import { removeIfThere, writeFileDurably } from '../durable-file.ts'
import { isMissing, makeFolderDurably, storageError, syncFolder, nodeFileOps } from '../file-ops.ts'
import { Untouched } from './untouched.ts'

/** States set aside that are kept, for whoever wants to know what the disk did to them. */
export const BAD_STATE_COUNT_MAX = 2
/** LMDB's file. */
const DATA = 'data.mdb'
/**
 * There until the state has proved usable: a process that ended meanwhile may have ended by it. How many
 * did, one after the other, is in it.
 */
const MARKER = 'unproven'
/** One may have been switched off; after so many it is looked into, which takes as long as opening it. */
const SUSPICIOUS = 2
/** There once LMDB found, while it wrote, that its pages are damaged. */
const CONDEMNED = 'damaged'
/** How it was when it was last known to be right. */
const LEFT = 'left'

const PAGE_BYTES_MIN = 4_096
const PAGE_BYTES_MAX = 65_536
const META_FLAG = 8
const MAGIC = 0xbeefc0de
const DATA_VERSION = 2
const FLAGS_OFFSET = 18
const MAGIC_OFFSET = 24
const VERSION_OFFSET = 28
const PAGE_SIZE_OFFSET = 48
const META_BYTES = 176

/** What a process that LMDB ended over damaged pages ends by. */
const DAMAGE_SIGNALS: readonly (string | null)[] = [
  'SIGSEGV',
  'SIGBUS',
  'SIGABRT',
  'SIGILL',
  'SIGFPE'
]

export class StateFolder {
  readonly path: string
  readonly #logger: Logger
  readonly #untouched: Untouched

  /** @param path of the folder; its parent must be there */
  constructor(path: string, logger: Logger) {
    this.path = path
    this.#logger = logger
    this.#untouched = new Untouched(join(path, DATA), join(path, LEFT))
  }

  /** @returns whether what was there can't be opened, and was set aside. */
  async prepare(): Promise<boolean> {
    return await this.#report('open', async () => {
      await makeFolderDurably(nodeFileOps, this.path)
      const reason = await this.#damage()
      if (reason === undefined) return false
      await this.setAside(reason)
      return true
    })
  }

  /** The state was read, and written to many times, or closed. */
  async proven(): Promise<void> {
    await this.#report('mark', () => removeIfThere(nodeFileOps, join(this.path, MARKER)))
  }

  /** All of it is known to be right, and so it was written. It may fail: then it is read at the next start. */
  async left(): Promise<void> {
    await this.#untouched.note().catch(() => {})
  }

  /** Something is wrong with it: how it was left says nothing. */
  async doubted(): Promise<void> {
    try {
      await removeIfThere(nodeFileOps, join(this.path, LEFT))
    } catch (error) {
      this.#logger.error('state_store.not_marked', { reason: errorMessage(error) })
    }
  }

  /** @returns whether it is as it was when `left` was called last */
  async isAsLeft(): Promise<boolean> {
    return await this.#report('look at', async () => await this.#untouched.isSo())
  }

  /** What is here takes no writes any more: the next `prepare` sets it aside. */
  async condemn(): Promise<void> {
    const path = join(this.path, CONDEMNED)
    await this.#report('mark', () => writeFileDurably(nodeFileOps, path, new Uint8Array(0)))
  }

  /** Moves all of it to `state.bad-1`, the older ones up by one, and begins an empty folder. */
  async setAside(reason: string): Promise<void> {
    await this.#report('set aside', async () => {
      const bad = (number: number): string => `${this.path}.bad-${number}`
      await rm(bad(BAD_STATE_COUNT_MAX), { recursive: true, force: true })
      for (let number = BAD_STATE_COUNT_MAX - 1; number > 0; number--) {
        await renameIfThere(bad(number), bad(number + 1))
      }
      await rename(this.path, bad(1))
      await syncFolder(nodeFileOps, dirname(this.path))
      await makeFolderDurably(nodeFileOps, this.path)
      this.#logger.error('state_store.set_aside', { folder: basename(bad(1)), reason })
    })
  }

  async #damage(): Promise<string | undefined> {
    if ((await sizeIfThere(join(this.path, CONDEMNED))) !== undefined) return 'it took no writes'
    const path = join(this.path, DATA)
    const size = await sizeIfThere(path)
    if (size === undefined || size === 0) return undefined
    if (!(await hasMetaPages(path))) return 'its first pages are damaged'
    const count = await this.#unproven()
    if (count >= SUSPICIOUS) {
      this.#logger.warn('state_store.check', { reason: `${count} starts in a row ended soon` })
      const signal = await signalOfCheck(dirname(this.path))
      if (DAMAGE_SIGNALS.includes(signal)) return `reading it ends a process by ${signal}`
    }
    const next = count >= SUSPICIOUS ? 1 : count + 1
    await writeFileDurably(nodeFileOps, join(this.path, MARKER), utf8(String(next)))
    return undefined
  }

  /** How many processes in a row ended before the state had proved usable. */
  async #unproven(): Promise<number> {
    try {
      return Number(await readFile(join(this.path, MARKER), 'utf8')) || 0
    } catch (error) {
      if (isMissing(error)) return 0
      throw error
    }
  }

  async #report<T>(what: string, task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } catch (error) {
      throw storageError(`${what} the state in ${this.path}`, error)
    }
  }
}

/** Opens the state in another process. @returns the signal that ended it. */
async function signalOfCheck(dir: string): Promise<string | null> {
  const own = import.meta.url
  const script = new URL(own.endsWith('.ts') ? 'check-state.ts' : 'check-state.js', own)
  const check = spawn(process.execPath, [fileURLToPath(script), dir], { stdio: 'ignore' })
  const [, signal] = (await once(check, 'exit')) as [number | null, string | null]
  return signal
}

/** LMDB for Node.js doesn't survive to say that these are bad. */
async function hasMetaPages(path: string): Promise<boolean> {
  const file = await open(path, 'r')
  try {
    const meta = Buffer.alloc(META_BYTES)
    let position = 0
    for (let number = 0; number < 2; number++) {
      const { bytesRead } = await file.read(meta, 0, META_BYTES, position)
      const pageBytes = meta.readUInt32LE(PAGE_SIZE_OFFSET)
      const isMeta =
        bytesRead === META_BYTES &&
        (meta.readUInt16LE(FLAGS_OFFSET) & META_FLAG) !== 0 &&
        meta.readUInt32LE(MAGIC_OFFSET) === MAGIC &&
        meta.readUInt16LE(VERSION_OFFSET) === DATA_VERSION &&
        pageBytes >= PAGE_BYTES_MIN &&
        pageBytes <= PAGE_BYTES_MAX &&
        (number === 0 || pageBytes === position)
      if (!isMeta) return false
      position = pageBytes
    }
    return true
  } finally {
    await file.close()
  }
}

async function sizeIfThere(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}
