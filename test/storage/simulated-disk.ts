// A file system in memory that knows what is durable: file bytes since their last sync, names since
// their folder's last sync. It can fail any call, run full, and lose power.

import { basename, dirname } from 'node:path'

import { present } from '../../src/base/assert.ts'
import { equalBytes } from '../../src/base/bytes.ts'
import type { Random } from '../../src/base/random.ts'
import type { FileOps, FolderEntry, OpenFile, OpenMode } from '../../src/storage/file/file-ops.ts'

export type DiskCall =
  | 'open'
  | 'read'
  | 'write'
  | 'sync'
  | 'size'
  | 'close'
  | 'makeFolder'
  | 'listFolder'
  | 'sizeOf'
  | 'rename'
  | 'remove'
  | 'freeBytes'

export type DiskFault = {
  call: DiskCall
  /** The errno name to reject with. */
  code: string
  /** Part of the path; any path when absent. */
  path?: string
  /** How often; once unless given. */
  times?: number
}

/** What becomes of changes that weren't synced when the power goes. */
export type Survival = 'lose' | 'keep' | 'mix'

const SECTOR_BYTES = 512

type File = { kind: 'file'; bytes: Uint8Array; durable: Uint8Array }
type Folder = { kind: 'folder'; names: Map<string, Node>; durable: Map<string, Node> }
type Node = File | Folder

export class SimulatedDisk implements FileOps {
  /** Bytes of files that fit. */
  capacityBytes: number = Number.MAX_SAFE_INTEGER
  /** Whether a remove on a full disk is refused, as copy-on-write file systems do. */
  removeNeedsRoom = false
  /** The power goes at this call, counted from 1, after it took effect; `undefined` for never. */
  crashAtCall: number | undefined
  callCount = 0
  readonly log: string[] = []
  readonly #faults: DiskFault[] = []
  #root: Folder
  #dead = false

  constructor(root: Folder = newFolder()) {
    this.#root = root
  }

  fail(fault: DiskFault): void {
    this.#faults.push({ times: 1, ...fault })
  }

  /** @returns the disk as the next start finds it. This one answers no more. */
  afterPowerCut(survival: Survival, random?: Random): SimulatedDisk {
    this.#dead = true
    return new SimulatedDisk(survivorOf(this.#root, survival, random))
  }

  /** Changes a file behind everyone's back, durably. */
  tamper(path: string, change: (bytes: Uint8Array) => Uint8Array): void {
    const node = present(this.#find(path), `${path} is there`)
    if (node.kind !== 'file') throw new Error(`${path} is a folder`)
    node.bytes = change(node.bytes)
    node.durable = node.bytes
  }

  /** Makes a file, durably, with the folder it is in. */
  plant(path: string, bytes: Uint8Array): void {
    const folder = this.#folder(dirname(path))
    const file: File = { kind: 'file', bytes, durable: bytes }
    folder.names.set(basename(path), file)
    folder.durable.set(basename(path), file)
  }

  /** Makes a folder, durably. Its parent must be there. */
  plantFolder(path: string): void {
    const parent = this.#folder(dirname(path))
    const folder = newFolder()
    parent.names.set(basename(path), folder)
    parent.durable.set(basename(path), folder)
  }

  /** Takes a file away, durably. */
  erase(path: string): void {
    const folder = this.#folder(dirname(path))
    folder.names.delete(basename(path))
    folder.durable.delete(basename(path))
  }

  has(path: string): boolean {
    return this.#find(path) !== undefined
  }

  names(path: string): string[] {
    return [...this.#folder(path).names.keys()].toSorted()
  }

  usedBytes(): number {
    const sum = (node: Node): number => {
      if (node.kind === 'file') return node.bytes.length
      let total = 0
      for (const child of node.names.values()) total += sum(child)
      return total
    }
    return sum(this.#root)
  }

  async open(path: string, mode: OpenMode): Promise<OpenFile> {
    return await this.#call('open', path, () => {
      if (mode === 'folder') return this.#openFolder(path)
      const there = this.#find(path)
      if (there?.kind === 'folder') throw systemError('EISDIR', path)
      if (mode === 'create' && there !== undefined) throw systemError('EEXIST', path)
      const mustBeThere = mode === 'read' || mode === 'log'
      if (mustBeThere && there === undefined) throw systemError('ENOENT', path)
      const file = there ?? { kind: 'file', bytes: new Uint8Array(), durable: new Uint8Array() }
      if (mode === 'overwrite') file.bytes = new Uint8Array()
      if (there === undefined) this.#folder(dirname(path)).names.set(basename(path), file)
      return this.#openFile(path, file, mode)
    })
  }

  async makeFolder(path: string): Promise<boolean> {
    return await this.#call('makeFolder', path, () => {
      const parent = this.#folder(dirname(path))
      if (parent.names.has(basename(path))) return false
      parent.names.set(basename(path), newFolder())
      return true
    })
  }

  async listFolder(path: string): Promise<FolderEntry[]> {
    return await this.#call('listFolder', path, () =>
      [...this.#folder(path).names].map(([name, node]) => ({ name, kind: node.kind }))
    )
  }

  async sizeOf(path: string): Promise<number> {
    return await this.#call('sizeOf', path, () => {
      const node = this.#find(path)
      if (node === undefined) throw systemError('ENOENT', path)
      return node.kind === 'file' ? node.bytes.length : 0
    })
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#call('rename', to, () => {
      const source = this.#folder(dirname(from))
      const node = source.names.get(basename(from))
      if (node === undefined) throw systemError('ENOENT', from)
      this.#folder(dirname(to)).names.set(basename(to), node)
      source.names.delete(basename(from))
    })
  }

  async remove(path: string): Promise<void> {
    await this.#call('remove', path, () => {
      const folder = this.#folder(dirname(path))
      if (!folder.names.has(basename(path))) throw systemError('ENOENT', path)
      if (this.removeNeedsRoom && this.usedBytes() >= this.capacityBytes) {
        throw systemError('ENOSPC', path)
      }
      folder.names.delete(basename(path))
    })
  }

  async freeBytes(path: string): Promise<number> {
    return await this.#call('freeBytes', path, () =>
      Math.max(this.capacityBytes - this.usedBytes(), 0)
    )
  }

  #openFile(path: string, file: File, mode: OpenMode): OpenFile {
    const sync = (): Promise<void> =>
      this.#call('sync', path, () => {
        file.durable = file.bytes
      })
    return {
      readNow: (buffer, position) => {
        if (this.#dead) throw systemError('EPOWER', path)
        this.#throwFault('read', path)
        const part = file.bytes.subarray(position, position + buffer.length)
        buffer.set(part)
        return part.length
      },
      read: (buffer, position) =>
        this.#call('read', path, () => {
          const part = file.bytes.subarray(position, position + buffer.length)
          buffer.set(part)
          return part.length
        }),
      write: async (bytes, position) => {
        await this.#call('write', path, () => {
          const growth = Math.max(position + bytes.length - file.bytes.length, 0)
          const room = Math.max(this.capacityBytes - this.usedBytes(), 0)
          // What still fits is written before the call fails, as a real disk does.
          const fitting = growth <= room ? bytes : bytes.subarray(0, bytes.length - growth + room)
          const grown = new Uint8Array(Math.max(file.bytes.length, position + fitting.length))
          grown.set(file.bytes)
          grown.set(fitting, position)
          file.bytes = grown
          if (fitting.length < bytes.length) throw systemError('ENOSPC', path)
        })
        if (mode === 'log') await sync()
      },
      sync,
      size: () => this.#call('size', path, () => file.bytes.length),
      close: () => this.#call('close', path, () => undefined)
    }
  }

  #openFolder(path: string): OpenFile {
    const folder = this.#folder(path)
    const refuse = (): Promise<never> => Promise.reject(systemError('EISDIR', path))
    return {
      read: refuse,
      readNow: () => {
        throw systemError('EISDIR', path)
      },
      write: refuse,
      size: refuse,
      sync: () =>
        this.#call('sync', path, () => {
          folder.durable = new Map(folder.names)
        }),
      close: () => this.#call('close', path, () => undefined)
    }
  }

  /** Takes effect a microtask after the call, and is reported one after that. */
  async #call<T>(call: DiskCall, path: string, effect: () => T): Promise<T> {
    await Promise.resolve()
    if (this.#dead) throw systemError('EPOWER', path)
    this.callCount += 1
    this.log.push(`${call} ${path}`)
    this.#throwFault(call, path)
    const result = effect()
    if (this.callCount === this.crashAtCall) {
      this.#dead = true
      throw systemError('EPOWER', path)
    }
    await Promise.resolve()
    return result
  }

  #throwFault(call: DiskCall, path: string): void {
    const matches = (fault: DiskFault): boolean =>
      fault.call === call && (fault.path === undefined || path.includes(fault.path))
    const index = this.#faults.findIndex(matches)
    const fault = this.#faults[index]
    if (fault === undefined) return
    fault.times = (fault.times ?? 1) - 1
    if (fault.times <= 0) this.#faults.splice(index, 1)
    throw systemError(fault.code, path)
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root
    for (const name of path.split('/').filter((part) => part !== '')) {
      if (node?.kind !== 'folder') return undefined
      node = node.names.get(name)
    }
    return node
  }

  #folder(path: string): Folder {
    const node = this.#find(path)
    if (node === undefined) throw systemError('ENOENT', path)
    if (node.kind !== 'folder') throw systemError('ENOTDIR', path)
    return node
  }
}

function newFolder(): Folder {
  return { kind: 'folder', names: new Map(), durable: new Map() }
}

function systemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: simulated, '${path}'`), { code })
}

function survivorOf(folder: Folder, survival: Survival, random: Random | undefined): Folder {
  const keeps = (): boolean =>
    survival === 'mix' ? present(random, 'a mix is drawn').below(2) === 1 : survival === 'keep'
  const survivor = newFolder()
  const names = [...new Set([...folder.durable.keys(), ...folder.names.keys()])].toSorted()
  for (const name of names) {
    const node = (keeps() ? folder.names : folder.durable).get(name)
    if (node === undefined) continue
    const copy = node.kind === 'folder' ? survivorOf(node, survival, random) : fileOf(node, keeps)
    survivor.names.set(name, copy)
    survivor.durable.set(name, copy)
  }
  return survivor
}

/**
 * Unsynced bytes are there, aren't, or have the right length and zeros for content. Where they took
 * the place of synced ones, that is so for each sector by itself.
 */
function fileOf(file: File, keeps: () => boolean): File {
  if (file.bytes === file.durable) return { kind: 'file', bytes: file.bytes, durable: file.bytes }
  if (file.bytes.length === file.durable.length) {
    const mixed = file.durable.slice()
    for (let offset = 0; offset < mixed.length; offset += SECTOR_BYTES) {
      const end = offset + SECTOR_BYTES
      const isSame = equalBytes(file.bytes.subarray(offset, end), mixed.subarray(offset, end))
      if (!isSame && keeps()) mixed.set(file.bytes.subarray(offset, end), offset)
    }
    return { kind: 'file', bytes: mixed, durable: mixed }
  }
  const bytes = keeps() ? file.bytes : keeps() ? new Uint8Array(file.bytes.length) : file.durable
  return { kind: 'file', bytes, durable: bytes }
}
