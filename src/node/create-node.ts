// The composition root: the only place where the real clock, randomness, disk and libp2p host are
// built and put together.

import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { sleep } from '../base/clock.ts'
import { errorMessage, isMeshError, MeshError } from '../base/errors.ts'
import { sessionId, type SessionId } from '../base/ids.ts'
import { silentLogger, type Logger } from '../base/log.ts'
import { createRandom } from '../base/random.ts'
import type { MemberRecord } from '../core/membership/member.ts'
import type { ClientSource } from '../executor/process/messages.ts'
import { checkFounding, foundMesh, type Founding } from '../mesh/genesis.ts'
import { askForGenesis, prepareToAsk, wrongMesh } from '../mesh/hello.ts'
import { keyOfSeed } from '../net/libp2p/key.ts'
import { createLibp2pNetwork } from '../net/libp2p/libp2p-network.ts'
import { FileBlockStore } from '../storage/file/file-block-store.ts'
import { FileLogStore } from '../storage/file/log/file-log-store.ts'
import { FileStateStore } from '../storage/file/state/file-state-store.ts'
import { DataFolder, type NodeFile } from './data-folder.ts'
import { executorOf, workSetupOf } from './node-work.ts'
import { AGENT, Node, type NodeComponents, type NodeJournal } from './node.ts'
import {
  DEFAULT_ZONE,
  defaultCapacity,
  defaultName,
  resolveOptions,
  type NodeOptions,
  type ResolvedOptions
} from './options.ts'
import { portsOf, withStickyPorts } from './sticky-ports.ts'
import { systemClock } from './system-clock.ts'

/** Between two attempts to reach the addresses given to a joiner. */
const JOIN_RETRY_MS = 1_000
/** A joiner says that it waits after the first failure, and then this often. */
const JOIN_SAY_EVERY = 5

/** A running node, with the folder it lives in. */
export class LocalNode extends Node {
  readonly folder: DataFolder
  /** How tasks that run here reach the mesh; set by whoever serves the local API. */
  taskClient: ClientSource | undefined
  #failure: MeshError | undefined

  constructor(folder: DataFolder, ...rest: ConstructorParameters<typeof Node>) {
    super(...rest)
    this.folder = folder
    this.on('failed', (error) => {
      this.#failure ??= error
    })
  }

  /** Why the node couldn't go on and has stopped, or is stopping. */
  failure(): MeshError | undefined {
    return this.#failure
  }

  override async stop(): Promise<void> {
    await super.stop()
    await this.folder.close()
  }
}

/** A node without a local API; `api/embedded-node.ts` has the whole of it, and says what is thrown. */
export async function createNode(options: NodeOptions): Promise<LocalNode> {
  const resolved = resolveOptions(options)
  const log = options.logger ?? silentLogger
  const folder = await DataFolder.open(resolved.dataDir, {
    name: resolved.name ?? defaultName(),
    zone: resolved.zone ?? DEFAULT_ZONE,
    capacityBytes: resolved.capacityBytes ?? (await defaultCapacity(resolved.dataDir)),
    labels: (resolved.labels ?? []).map(([key, value]) => [key, value])
  })
  try {
    await applyChanges(folder, resolved)
    const founding = await foundOrJoin(folder, { resolved, options, log })
    const node = await startNode(folder, founding, { resolved, options, log })
    const failure = node.failure()
    if (failure === undefined) return node
    // Refused by the mesh right after the start, before anybody could listen for it.
    await node.stop()
    throw failure
  } catch (error) {
    await folder.close()
    throw error
  }
}

type Context = { resolved: ResolvedOptions; options: NodeOptions; log: Logger }

/** What the user said now goes before what the folder says; placement changes raise the revision. */
async function applyChanges(folder: DataFolder, resolved: ResolvedOptions): Promise<void> {
  const { file } = folder
  if (file.left && resolved.join.length === 0) {
    throw new MeshError(
      'folder-state',
      `The node in ${folder.dir} has left its mesh. To come back: atoll join ADDRESS --data ${folder.dir}`
    )
  }
  const change: Partial<NodeFile> = {
    name: resolved.name ?? file.name,
    zone: resolved.zone ?? file.zone,
    capacityBytes: resolved.capacityBytes ?? file.capacityBytes,
    left: false
  }
  if (resolved.labels !== undefined)
    change.labels = resolved.labels.map(([key, value]) => [key, value])
  const placementChanged =
    file.left || change.zone !== file.zone || change.capacityBytes !== file.capacityBytes
  if (placementChanged) change.revision = file.revision + 1
  await folder.save(change)
}

/** A mesh is made here only: by an explicit start on an empty folder, with nobody to join. */
async function foundOrJoin(folder: DataFolder, context: Context): Promise<Founding> {
  const known = await folder.founding()
  if (known !== undefined) return known
  const founding =
    context.resolved.join.length === 0
      ? foundMesh(folder.identity, {
          createdMs: systemClock.nowMs(),
          nonce: randomBytes(16),
          shardCount: context.resolved.shards
        })
      : await learnFounding(folder, context)
  await folder.saveFounding(founding)
  return founding
}

/** Asks the given addresses, again and again, until one tells the genesis record. */
async function learnFounding(folder: DataFolder, context: Context): Promise<Founding> {
  const { resolved, options, log } = context
  const signal = options.signal ?? new AbortController().signal
  // An identity for one question: the node's own appears when it is a peer of the mesh.
  const network = await createLibp2pNetwork(
    { clock: systemClock, log },
    { privateKey: await keyOfSeed(randomBytes(32)), listen: [], mdns: false }
  )
  prepareToAsk(network)
  await network.start()
  try {
    const said = { storeId: folder.file.storeId, session: newSession(), agent: AGENT, signal }
    for (let attempt = 0; ; attempt++) {
      const answers = await Promise.allSettled(
        resolved.join.map(async (address) =>
          checkFounding(await askForGenesis(network, address, said))
        )
      )
      signal.throwIfAborted()
      const foundings = answers.flatMap((answer) =>
        answer.status === 'fulfilled' ? [answer.value] : []
      )
      const [first] = foundings
      if (first !== undefined) {
        const other = foundings.find(({ meshId }) => meshId !== first.meshId)
        if (other !== undefined) throw wrongMesh(first.meshId, other.meshId)
        return first
      }
      const reasons = answers.flatMap((answer) =>
        answer.status === 'rejected' ? [answer.reason as unknown] : []
      )
      const fatal = reasons.find((reason) => isMeshError(reason, 'invalid-argument'))
      if (fatal !== undefined) throw fatal
      if (attempt % JOIN_SAY_EVERY === 0) options.onWaiting?.(reasons.map(errorMessage).join('; '))
      await sleep(systemClock, JOIN_RETRY_MS, { signal })
    }
  } finally {
    await network.stop()
  }
}

async function startNode(
  folder: DataFolder,
  founding: Founding,
  context: Context
): Promise<LocalNode> {
  const { resolved, options, log } = context
  await folder.checkLog()
  const { file, identity } = folder
  const clock: Clock = systemClock
  const network = await createLibp2pNetwork(
    { clock, log },
    {
      privateKey: await keyOfSeed(identity.seed),
      listen: await withStickyPorts(resolved.listen, file.ports),
      mesh: founding.meshId,
      mdns: resolved.mdns
    }
  )
  const self = recordOf(folder)
  await folder.save({ incarnation: self.incarnation })
  const node: LocalNode = new LocalNode(
    folder,
    {
      network,
      clock,
      random: createRandom(randomBytes(4).readUInt32LE()),
      log,
      journal: journalOf(folder),
      ...storesOf(folder, founding, log),
      executor: executorOf({ dir: folder.dir, resolved, log }, () => node),
      defer: (task) => void setImmediate(task)
    },
    {
      founding,
      self,
      membership: resolved.membership,
      join: resolved.join,
      remembered: await rememberedOf(folder, log),
      layout: await folder.layout(),
      hasLog: file.hasLog,
      work: workSetupOf(resolved, file.labels),
      onWaiting: options.onWaiting
    }
  )
  options.signal?.throwIfAborted()
  const onAbort = (): void => void node.stop()
  options.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    await node.start()
    await folder.save({ ports: portsOf(network.addresses()) })
  } finally {
    options.signal?.removeEventListener('abort', onAbort)
  }
  options.signal?.throwIfAborted()
  return node
}

/** What the node says of itself from this start on. */
function recordOf({ file, identity }: DataFolder): MemberRecord {
  return {
    peerId: identity.peerId,
    incarnation: file.incarnation + 1,
    session: newSession(),
    storeId: file.storeId,
    revision: file.revision,
    name: file.name,
    zone: file.zone,
    capacityBytes: file.capacityBytes,
    labels: file.labels,
    addresses: [],
    status: 'up'
  }
}

function storesOf(
  { dir, file }: DataFolder,
  { genesis }: Founding,
  logger: Logger
): Pick<NodeComponents, 'store' | 'logStore' | 'stateStore'> {
  const { capacityBytes } = file
  const clock = systemClock
  return {
    store: new FileBlockStore({ logger }, { dir, capacityBytes, arcCount: genesis.arcCount }),
    logStore: new FileLogStore({ clock, logger }, { dir }),
    stateStore: new FileStateStore({ clock, logger }, { dir })
  }
}

function journalOf(folder: DataFolder): NodeJournal {
  return {
    remember: async (members) => {
      await folder.remember(members)
    },
    saveSelf: async ({ incarnation, revision, status }) => {
      await folder.save({ incarnation, revision, left: status === 'left' })
    },
    scrub: folder.scrubJournal(),
    saveLayout: async (encoded) => await folder.saveLayout(encoded),
    saveLog: async () => await folder.save({ hasLog: true })
  }
}

/** A node works without its memory: it only takes longer to find the others. */
async function rememberedOf(folder: DataFolder, log: Logger): ReturnType<DataFolder['remembered']> {
  try {
    return await folder.remembered()
  } catch (error) {
    log.warn('node.memory_unreadable', { reason: errorMessage(error) })
    return []
  }
}

function newSession(): SessionId {
  return sessionId(randomBytes(8).toString('hex'))
}
