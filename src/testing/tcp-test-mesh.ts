// The test mesh on real sockets and disks: slower, not reproducible, and true.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MeshError } from '../base/errors.ts'
import { GIB } from '../base/units.ts'
import { sleep } from '../base/clock.ts'
import { createNode, type LocalNode } from '../node/create-node.ts'
import { systemClock } from '../node/system-clock.ts'
import { isSettled, type TestMesh, type TestMeshOptions } from './contract.ts'

const SETTLE_STEP_MS = 50
const SETTLE_LIMIT_MS = 60_000
/** More libp2p hosts in one process are too slow to be of use. */
const PEERS_MAX = 10

export class TcpTestMesh implements TestMesh {
  readonly nodes: LocalNode[] = []
  readonly #options: TestMeshOptions
  readonly #running: boolean[] = []
  #folder: string | undefined

  constructor(options: TestMeshOptions) {
    if (options.peers > PEERS_MAX) {
      throw new MeshError(
        'invalid-argument',
        `A mesh on real sockets has at most ${PEERS_MAX} peers`
      )
    }
    this.#options = options
  }

  async add(): Promise<number> {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'atoll-test-'))
    const index = this.nodes.length
    await this.#start(index)
    return index
  }

  /** In one process nothing can be killed without the rest: the node stops, and says nothing. */
  async kill(index: number): Promise<void> {
    this.#running[index] = false
    await this.nodes[index]?.stop()
  }

  async restart(index: number): Promise<LocalNode> {
    await this.kill(index)
    return await this.#start(index)
  }

  partition(): void {
    throw new MeshError(
      'invalid-argument',
      'Real sockets are not partitioned here; use the memory transport'
    )
  }

  heal(): void {}

  async settle(): Promise<void> {
    const endMs = systemClock.monotonicMs() + SETTLE_LIMIT_MS
    while (!isSettled(this.nodes.filter((_, index) => this.#running[index] === true))) {
      if (systemClock.monotonicMs() > endMs) {
        throw new MeshError('timeout', `The mesh did not settle within ${SETTLE_LIMIT_MS} ms`)
      }
      await sleep(systemClock, SETTLE_STEP_MS)
    }
  }

  async advance(durationMs: number): Promise<void> {
    await sleep(systemClock, durationMs)
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #start(index: number): Promise<LocalNode> {
    const other = this.nodes.find((_, number) => number !== index && this.#running[number] === true)
    const { capacityBytes = GIB, zoneOf, graceMs } = this.#options
    const node = await createNode({
      dataDir: join(this.#folder ?? '', String(index)),
      preset: 'local',
      name: `peer-${index}`,
      capacityBytes,
      zone: zoneOf?.(index) ?? 'default',
      ...(graceMs === undefined ? {} : { graceMs }),
      ...(other === undefined ? {} : { join: other.addresses })
    })
    this.nodes[index] = node
    this.#running[index] = true
    return node
  }
}
