// What a node keeps on disk besides blocks: who it is, which mesh it belongs to, what it remembers.
//
//   node.json   format, store id, mesh, name, zone, capacity, …     key        Ed25519 seed, 0600
//   genesis     the mesh's signed genesis record                    members    the last member table
//   scrub.json  where the scrub is                                  layout     the last one heard of
//   blocks/     the block store                                     api.json   address and token, 0600
//   log/        the log of all groups                               lock/      one process at a time
//   state/      what the groups' replicas have applied

import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fromUtf8, utf8 } from '../base/bytes.ts'
import { errorMessage, MeshError } from '../base/errors.ts'
import { storeId, type StoreId } from '../base/ids.ts'
import { KIB } from '../base/units.ts'
import type { Member, MemberUpdate } from '../core/membership/member.ts'
import type { ScrubJournal, ScrubState } from '../blocks/scrub.ts'
import { checkFounding, type Founding } from '../mesh/genesis.ts'
import { identityFromSeed, SEED_BYTES, type Identity } from '../mesh/identity.ts'
import { readFileIfThere, removeIfThere, writeFileDurably } from '../storage/file/durable-file.ts'
import { nodeFileOps } from '../storage/file/file-ops.ts'
import { hasFiles, syncNewFolders } from '../storage/file/folders.ts'
import { lockFolder, type FolderLock } from '../storage/file/folder-lock.ts'
import { decodeRemembered, encodeRemembered, REMEMBERED_BYTES_MAX } from '../wire/remembered.ts'

/** The format of the folder that this version writes. A newer one is refused, never guessed at. */
const FOLDER_FORMAT = 1

const SECRET_MODE = 0o600
/** A layout is at most this long: it is a value in the system group. */
const LAYOUT_BYTES_MAX: number = 512 * KIB

/** What `node.json` holds. */
export type NodeFile = {
  format: number
  storeId: StoreId
  name: string
  zone: string
  capacityBytes: number
  labels: [string, string][]
  /** The highest incarnation used so far. */
  incarnation: number
  /** Raised whenever capacity, zone or status change. */
  revision: number
  /** The TCP ports of the last run, in the order of the listen addresses; 0 picks them again. */
  ports: number[]
  /** The node has left its mesh and handed its blocks over. */
  left: boolean
  /**
   * There is a log here, so a missing one was lost: this node then is another store, whose replicas
   * are other ones, and a founder doesn't found again.
   */
  hasLog: boolean
}

/** Where the CLI finds the running node. */
export type ApiFile = { url: string; token: string; pid: number }

export class DataFolder {
  readonly dir: string
  readonly identity: Identity
  readonly #lock: FolderLock
  /** One write of node.json after the other. */
  #saving: Promise<void> = Promise.resolve()
  file: NodeFile

  private constructor(dir: string, lock: FolderLock, identity: Identity, file: NodeFile) {
    this.dir = dir
    this.#lock = lock
    this.identity = identity
    this.file = file
  }

  /**
   * Locks the folder and reads it; makes the identity in an empty one.
   *
   * @throws folder-locked, folder-too-new, invalid-data, storage-failed
   */
  static async open(
    dir: string,
    fresh: Pick<NodeFile, 'name' | 'zone' | 'capacityBytes' | 'labels'>
  ): Promise<DataFolder> {
    try {
      const made = await mkdir(dir, { recursive: true, mode: 0o700 })
      if (made !== undefined) await syncNewFolders(made, dir)
    } catch (error) {
      throw new MeshError(
        'folder-state',
        `Cannot make the data folder ${dir}: ${errorMessage(error)}`,
        {
          cause: error
        }
      )
    }
    const lock = await lockFolder(dir)
    try {
      const file = await readNodeFile(dir)
      const seed = await readFileIfThere(nodeFileOps, join(dir, 'key'))
      if (file !== undefined && seed === undefined) throw damaged(dir, 'key', 'it is missing')
      if (seed !== undefined && seed.length !== SEED_BYTES)
        throw damaged(dir, 'key', 'it is cut off')
      const identity = identityFromSeed(seed ?? randomBytes(SEED_BYTES))
      const known = file ?? newNodeFile(fresh)
      const folder = new DataFolder(dir, lock, identity, known)
      if (seed === undefined) {
        await writeFileDurably(nodeFileOps, join(dir, 'key'), identity.seed, { mode: SECRET_MODE })
      }
      await folder.save({})
      return folder
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  /** Changes `node.json`. */
  async save(change: Partial<NodeFile>): Promise<void> {
    this.file = { ...this.file, ...change }
    const bytes = utf8(`${JSON.stringify(this.file, null, 2)}\n`)
    const write = async (): Promise<void> => {
      await writeFileDurably(nodeFileOps, join(this.dir, 'node.json'), bytes)
    }
    const saved = this.#saving.then(write)
    // Who comes next waits for this write, and isn't concerned with how it went.
    this.#saving = saved.catch(() => {})
    await saved
  }

  /** @returns the mesh that this node belongs to, if any. @throws invalid-data */
  async founding(): Promise<Founding | undefined> {
    const bytes = await readFileIfThere(nodeFileOps, join(this.dir, 'genesis'))
    if (bytes === undefined) return undefined
    try {
      return checkFounding(bytes)
    } catch (error) {
      throw damaged(this.dir, 'genesis', errorMessage(error))
    }
  }

  async saveFounding(founding: Founding): Promise<void> {
    await writeFileDurably(nodeFileOps, join(this.dir, 'genesis'), founding.signed)
  }

  /** @returns the table of the last run; none when there is none or it can't be read. */
  async remembered(): Promise<MemberUpdate[]> {
    const bytes = await readFileIfThere(nodeFileOps, join(this.dir, 'members'), {
      maxBytes: REMEMBERED_BYTES_MAX
    })
    return bytes === undefined ? [] : decodeRemembered(bytes)
  }

  async remember(members: readonly Member[]): Promise<void> {
    await writeFileDurably(nodeFileOps, join(this.dir, 'members'), encodeRemembered(members))
  }

  /** @returns the last layout that was heard of, in its bytes. */
  async layout(): Promise<Uint8Array | undefined> {
    return await readFileIfThere(nodeFileOps, join(this.dir, 'layout'), {
      maxBytes: LAYOUT_BYTES_MAX
    })
  }

  async saveLayout(encoded: Uint8Array): Promise<void> {
    await writeFileDurably(nodeFileOps, join(this.dir, 'layout'), encoded)
  }

  /** A node whose log is gone is a new store: nothing may be believed of its old replicas. */
  async checkLog(): Promise<void> {
    if (!this.file.hasLog || (await hasFiles(join(this.dir, 'log')))) return
    const { revision } = this.file
    await this.save({ storeId: storeId(randomBytes(16).toString('hex')), revision: revision + 1 })
  }

  scrubJournal(): ScrubJournal {
    const path = join(this.dir, 'scrub.json')
    return {
      load: async () => {
        const bytes = await readFileIfThere(nodeFileOps, path)
        return bytes === undefined ? undefined : parseScrubState(bytes)
      },
      save: async (state) => {
        await writeFileDurably(nodeFileOps, path, utf8(JSON.stringify(state)))
      }
    }
  }

  async saveApi(api: ApiFile): Promise<void> {
    const bytes = utf8(JSON.stringify(api))
    await writeFileDurably(nodeFileOps, join(this.dir, 'api.json'), bytes, { mode: SECRET_MODE })
  }

  async removeApi(): Promise<void> {
    await removeIfThere(nodeFileOps, join(this.dir, 'api.json'))
  }

  async close(): Promise<void> {
    await this.#lock.release()
  }
}

/** @returns where the node of a data folder serves its API, or undefined when none runs there. */
export async function readApiFile(dir: string): Promise<ApiFile | undefined> {
  const bytes = await readFileIfThere(nodeFileOps, join(dir, 'api.json'))
  if (bytes === undefined) return undefined
  const { url, token, pid } = parseJson(bytes, dir, 'api.json')
  if (typeof url !== 'string' || typeof token !== 'string' || typeof pid !== 'number') {
    throw damaged(dir, 'api.json', 'fields are missing')
  }
  return { url, token, pid }
}

async function readNodeFile(dir: string): Promise<NodeFile | undefined> {
  const bytes = await readFileIfThere(nodeFileOps, join(dir, 'node.json'))
  if (bytes === undefined) return undefined
  const value = parseJson(bytes, dir, 'node.json')
  const { format } = value
  if (!Number.isSafeInteger(format) || (format as number) < 1) {
    throw damaged(dir, 'node.json', 'it names no format')
  }
  if ((format as number) > FOLDER_FORMAT) {
    throw new MeshError(
      'folder-too-new',
      `The data folder ${dir} has format ${format}; this version knows ${FOLDER_FORMAT}. ` +
        'Nothing was changed: update atoll, or use another folder (--data)'
    )
  }
  const { name, zone, capacityBytes, labels, incarnation, revision, ports, left, hasLog } = value
  const good =
    typeof name === 'string' &&
    typeof zone === 'string' &&
    typeof capacityBytes === 'number' &&
    Number.isSafeInteger(incarnation) &&
    Number.isSafeInteger(revision) &&
    Array.isArray(labels) &&
    Array.isArray(ports) &&
    typeof left === 'boolean' &&
    typeof hasLog === 'boolean' &&
    /^[0-9a-f]{32}$/.test(String(value['storeId']))
  if (!good) throw damaged(dir, 'node.json', 'fields are missing')
  return { ...(value as NodeFile), storeId: storeId(value['storeId'] as string) }
}

function newNodeFile(
  fresh: Pick<NodeFile, 'name' | 'zone' | 'capacityBytes' | 'labels'>
): NodeFile {
  return {
    format: FOLDER_FORMAT,
    storeId: storeId(randomBytes(16).toString('hex')),
    ...fresh,
    incarnation: 0,
    revision: 1,
    ports: [],
    left: false,
    hasLog: false
  }
}

function parseScrubState(bytes: Uint8Array): ScrubState | undefined {
  try {
    const state = JSON.parse(fromUtf8(bytes)) as Partial<ScrubState>
    if (!Number.isSafeInteger(state.nextArc)) return undefined
    return { nextArc: state.nextArc as number, completedMs: state.completedMs }
  } catch {
    return undefined // A scrub that forgot where it was starts over.
  }
}

function parseJson(
  bytes: Uint8Array,
  dir: string,
  name: string
): { [key: string]: unknown } & Partial<NodeFile & ApiFile> {
  try {
    const value: unknown = JSON.parse(fromUtf8(bytes))
    if (typeof value !== 'object' || value === null) throw new Error('it is no object')
    return value as { [key: string]: unknown }
  } catch (error) {
    throw damaged(dir, name, errorMessage(error))
  }
}

function damaged(dir: string, name: string, why: string): MeshError {
  return new MeshError(
    'invalid-data',
    `The file ${name} in the data folder ${dir} is damaged (${why}). Restore it, or move the folder ` +
      'away and join again: the mesh has the other copies of its blocks'
  )
}
