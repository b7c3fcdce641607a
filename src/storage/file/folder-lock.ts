// One process at a time per data folder. Who holds the lock listens on a Unix socket in the folder:
// the system closes it when the process dies, however it dies, so a lock is never left behind.
//
// A file with a process id would be simpler and wrong: ids are reused, and mean nothing to a process
// in another container that shares the folder. A socket's name in the folder works across both.
//
// Every contender publishes a socket under a name of its own, then looks for others. Of two that do
// so at the same time, at least one sees the other, so they can't both find the folder free. Names
// are never used twice, so removing one whose process is dead can't hit anyone alive.

import { randomBytes } from 'node:crypto'
import { access, mkdir, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { MeshError } from '../../base/errors.ts'
import { errnoOf, isMissing, storageError } from './file-ops.ts'

export type FolderLock = {
  /** Idempotent. */
  release(): Promise<void>
}

/** A published socket: the process that listens on it and a number that orders contenders. */
const NAME: RegExp = /^(\d{1,10})\.([0-9a-f]{16})$/
/** Beside the socket of the process that holds the lock. */
const HELD_SUFFIX = '.held'
/** A socket that isn't listening yet. */
const NEW_SUFFIX = '.new'
/** The shortest limit for a socket's path, on macOS, with its final NUL. */
const SOCKET_PATH_BYTES_MAX = 103
/** How long to wait for a process that is starting to make up its mind. */
const CONTENDER_WAIT_MS = 5_000
/** What a file system that can't hold sockets answers, such as exFAT. */
const NO_SOCKETS: ReadonlySet<string | undefined> = new Set([
  'EPERM',
  'EOPNOTSUPP',
  'ENOTSUP',
  'EINVAL',
  'ENOSYS'
])

/**
 * Locks a folder against other processes, and against this one, until `release` or its end. Not
 * against other machines that mount the same folder.
 *
 * @param dir a folder that is there.
 * @throws folder-locked when a running process holds the lock or is just taking it.
 * @throws storage-failed when the lock can't be made.
 */
export async function lockFolder(dir: string): Promise<FolderLock> {
  const folder = resolve(dir)
  try {
    const contender = await publish(folder)
    try {
      await contender.acquire()
    } catch (error) {
      await contender.release()
      throw error
    }
    return { release: () => contender.release() }
  } catch (error) {
    throw storageError(`lock ${folder}`, error)
  }
}

async function publish(folder: string): Promise<Contender> {
  const inFolder = new Contender(folder, join(folder, 'lock'))
  try {
    await inFolder.publish()
    return inFolder
  } catch (error) {
    await inFolder.release()
    if (!NO_SOCKETS.has(errnoOf(error))) throw error
  }
  // The folder's file system can't hold sockets: use one that can, by the folder's identity, which
  // every process on this machine sees alike.
  const { dev, ino } = await stat(folder, { bigint: true })
  const elsewhere = new Contender(folder, join(tmpdir(), `atoll-lock-${dev}-${ino}`))
  try {
    await elsewhere.publish()
    return elsewhere
  } catch (error) {
    await elsewhere.release()
    throw error
  }
}

class Contender {
  readonly #folder: string
  readonly #sockets: string
  readonly #number = randomBytes(8).toString('hex')
  readonly #name: string
  readonly #server: Server
  /** Others that wait for this one to make up its mind. */
  readonly #waiting = new Set<Socket>()
  #decided = false

  /** @param sockets the folder for the sockets of those who want to lock `folder`. */
  constructor(folder: string, sockets: string) {
    this.#folder = folder
    this.#sockets = sockets
    this.#name = `${process.pid}.${this.#number}`
    this.#server = createServer((socket) => this.#accept(socket))
    // The lock alone keeps no process running.
    this.#server.unref()
  }

  /** Makes this contender visible, listening already when it gets its name. */
  async publish(): Promise<void> {
    await makeFolder(this.#sockets)
    const unpublished = `${this.#name}${NEW_SUFFIX}`
    await throughShortPath(this.#sockets, unpublished, (path) => listen(this.#server, path))
    await rename(join(this.#sockets, unpublished), join(this.#sockets, this.#name))
  }

  /** @throws folder-locked */
  async acquire(): Promise<void> {
    const deadline = AbortSignal.timeout(CONTENDER_WAIT_MS)
    let rival = await this.#findRival()
    while (rival !== undefined) {
      // Of those who start together the lowest number goes first; it waits for the others to see
      // that and withdraw, which closes their sockets.
      if (rival.held || rival.number < this.#number) {
        rival.socket.destroy()
        throw locked(this.#folder, rival)
      }
      await waitUntilClosed(rival.socket, deadline)
      if (deadline.aborted) throw locked(this.#folder, rival)
      rival = await this.#findRival()
    }
    await writeFile(join(this.#sockets, `${this.#name}${HELD_SUFFIX}`), '', { flag: 'wx' })
    this.#decide()
  }

  async release(): Promise<void> {
    const socket = join(this.#sockets, this.#name)
    // The socket goes first: a mark without a socket means nothing, but a socket without its mark
    // would have others wait for a process that is gone.
    await rm(socket, { force: true })
    await rm(`${socket}${HELD_SUFFIX}`, { force: true })
    this.#decide()
    if (this.#server.listening) await new Promise((done) => this.#server.close(done))
  }

  /** @returns another contender that is alive, one that holds the lock before any other. */
  async #findRival(): Promise<Rival | undefined> {
    let found: Rival | undefined
    for (const name of await readdir(this.#sockets)) {
      const match = NAME.exec(name)
      if (match === null || name === this.#name) continue
      const socket = await this.#reach(name)
      if (socket === undefined) continue
      const held = await isThere(join(this.#sockets, `${name}${HELD_SUFFIX}`))
      const rival = { pid: Number(match[1]), number: match[2] as string, held, socket }
      const before = found === undefined || held || (!found.held && rival.number < found.number)
      if (before) found?.socket.destroy()
      else socket.destroy()
      if (before) found = rival
    }
    return found
  }

  /** @returns a connection to a contender, or `undefined` when it is gone, having cleared it away. */
  async #reach(name: string): Promise<Socket | undefined> {
    try {
      return await throughShortPath(this.#sockets, name, connectTo)
    } catch (error) {
      if (isMissing(error)) return undefined
      // Any other error may come from a process that is alive.
      if (errnoOf(error) !== 'ECONNREFUSED') throw error
      await rm(join(this.#sockets, name), { force: true })
      await rm(join(this.#sockets, `${name}${HELD_SUFFIX}`), { force: true })
      return undefined
    }
  }

  #accept(socket: Socket): void {
    // Nobody sends anything; a connection that breaks is one that closed.
    socket.on('error', () => socket.destroy())
    if (this.#decided) {
      socket.destroy()
      return
    }
    this.#waiting.add(socket)
    socket.on('close', () => this.#waiting.delete(socket))
    socket.unref()
  }

  /** Has those who wait look again: the lock is taken, or this contender withdrew. */
  #decide(): void {
    this.#decided = true
    for (const socket of this.#waiting) socket.destroy()
  }
}

type Rival = { pid: number; number: string; held: boolean; socket: Socket }

function locked(folder: string, rival: Rival): MeshError {
  const { pid } = rival
  const who = pid === process.pid ? `this process (${pid})` : `process ${pid}`
  return new MeshError(
    'folder-locked',
    `Cannot use ${folder}: ${who} is using it; stop that node first, or give this one a data ` +
      'folder of its own',
    { details: { pid } }
  )
}

/** Calls `use` with a path to `name` in `folder` that is short enough for a socket. */
async function throughShortPath<T>(
  folder: string,
  name: string,
  use: (path: string) => Promise<T>
): Promise<T> {
  const path = join(folder, name)
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return await use(path)
  const link = join(tmpdir(), `atoll-${randomBytes(6).toString('hex')}`)
  await symlink(folder, link)
  try {
    return await use(join(link, name))
  } finally {
    await rm(link, { force: true })
  }
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((done, failed) => {
    server.once('error', failed)
    server.listen({ path, exclusive: true }, () => {
      server.off('error', failed)
      done()
    })
  })
}

async function connectTo(path: string): Promise<Socket> {
  return await new Promise<Socket>((done, failed) => {
    const socket = connect({ path })
    socket.once('error', failed)
    socket.once('connect', () => {
      socket.off('error', failed)
      socket.on('error', () => socket.destroy())
      // Only while someone waits for its end does it keep the process running.
      socket.unref()
      done(socket)
    })
  })
}

/** Resolves when the socket has closed, or when the deadline came. */
async function waitUntilClosed(socket: Socket, deadline: AbortSignal): Promise<void> {
  if (!socket.closed && !deadline.aborted) {
    socket.ref()
    await new Promise<void>((done) => {
      deadline.addEventListener('abort', () => done(), { once: true })
      socket.once('close', () => done())
      // Without a reader the end of the connection would never be seen.
      socket.resume()
    })
  }
  socket.destroy()
}

/** Not its parents: a data folder is made durably, by whoever owns it. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}
