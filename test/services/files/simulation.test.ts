// Puts, removals and cycles while nodes die and come back, copies move, frames come twice and answers
// get lost: by seed. At the end every name leads to a file that it may lead to, whole; and when
// all are removed the disks are empty.

import { describe, expect, it } from 'vitest'
import { sleep } from '../../../src/base/clock.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import { createRandom, type Random } from '../../../src/base/random.ts'
import { contentOf, FileMesh, readAll } from './file-mesh.ts'

const PEER_COUNT = 6
const CONTENT_COUNT = 6
const STEP_COUNT = 60
const SEEDS = 8
type Possible = Set<number | undefined>

class Simulation {
  readonly mesh: FileMesh
  readonly random: Random
  /** What each name may lead to; more than one when an answer was lost. */
  readonly names = new Map<string, Possible>()
  readonly counts = { puts: 0, deleted: 0, conflicts: 0, cycles: 0, failedCycles: 0 }
  readonly #stop = new AbortController()
  #down: number | undefined

  constructor(mesh: FileMesh, seed: number) {
    this.mesh = mesh
    this.random = createRandom(seed)
  }

  async run(): Promise<void> {
    const { mesh, random } = this
    // Every other node keeps nothing fresh while it puts: C-8 must do alone.
    for (const index of [0, 2, 4])
      mesh.peer(index).blocks.collection.onSwept = () => () => undefined
    mesh.shards.latencyMs = () => random.below(8)
    mesh.shards.faults = (name) => {
      const isEntry = ['file.put', 'file.rm', 'file.cycle'].includes(name)
      return isEntry && random.below(50) === 0 ? 'lost-answer' : undefined
    }
    // Between the blocks of a put and its name there is time for some cycles.
    mesh.before = async (name) => {
      if (name === 'file.put' && random.below(2) === 0) await this.#pause(4_000)
    }
    const work = [0, 1, 2, 3].map((worker) => this.#work(worker))
    const collect = [0, 1].map(() => this.#collect())
    const disturb = this.#disturb()
    await mesh.run(disturb)
    this.#stop.abort()
    await mesh.run(Promise.all([...work, ...collect]))
    mesh.shards.faults = () => undefined
    mesh.before = () => Promise.resolve()
  }

  get #isOver(): boolean {
    return this.#stop.signal.aborted
  }

  async #pause(mostMs: number): Promise<void> {
    await sleep(this.mesh.clock, 1 + this.random.below(mostMs))
  }

  #up(): number {
    for (;;) {
      const index = this.random.below(PEER_COUNT)
      if (index !== this.#down) return index
    }
  }

  /** Puts and removes names of its own, of contents that all workers share. */
  async #work(worker: number): Promise<void> {
    const { random } = this
    while (!this.#isOver) {
      await this.#pause(300)
      const name = `v${worker}/file`
      const isRemoval = random.below(2) === 0
      const content = isRemoval ? undefined : random.below(CONTENT_COUNT)
      const before: Possible = this.names.get(name) ?? new Set([undefined])
      this.names.set(name, new Set([...before, content]))
      const outcome = await this.#change(name, content)
      if (outcome === 'done') this.names.set(name, new Set([content]))
      if (outcome === 'refused') this.names.set(name, before)
    }
  }

  async #change(
    name: string,
    content: number | undefined
  ): Promise<'done' | 'refused' | 'unknown'> {
    const { files } = this.mesh.peer(this.#up())
    try {
      if (content === undefined) await files.rm(name)
      else {
        await files.put(name, this.#source(content), { replace: true })
        this.counts.puts += 1
      }
      return 'done'
    } catch (error) {
      // What a node that is switched off says isn't always an error of ours.
      if (!isMeshError(error)) return 'unknown'
      if (error.code === 'conflict') this.counts.conflicts += 1
      return ['conflict', 'no-quorum'].includes(error.code) ? 'refused' : 'unknown'
    }
  }

  #source(content: number): Uint8Array | AsyncIterable<Uint8Array> {
    const bytes = contentOf(content, 2_000)
    if (this.random.below(2) === 0) return bytes
    const pause = async (): Promise<void> => await this.#pause(500)
    return (async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 500)
      await pause()
      yield bytes.subarray(500)
    })()
  }

  async #collect(): Promise<void> {
    while (!this.#isOver) {
      await this.#pause(400)
      try {
        const { collector } = this.mesh.peer(this.#up())
        const report = await collector.collect({ isForced: true })
        this.counts.deleted += report?.deleted ?? 0
        if (report !== undefined) this.counts.cycles += 1
      } catch {
        this.counts.failedCycles += 1
      }
    }
  }

  async #disturb(): Promise<void> {
    const { mesh, random } = this
    for (let step = 0; step < STEP_COUNT; step++) {
      await this.#pause(2_000)
      const choice = random.below(3)
      if (choice === 0 && this.#down === undefined) {
        this.#down = random.below(PEER_COUNT)
        const { self, stop } = mesh.peer(this.#down)
        mesh.away.add(self)
        await stop()
      } else if (choice === 1 && this.#down !== undefined) {
        const index = this.#down
        const { blocks } = await mesh.add(index)
        if (index % 2 === 0) blocks.collection.onSwept = () => () => undefined
        this.#down = undefined
      } else if (choice === 2) {
        const first = random.below(PEER_COUNT)
        mesh.setOwners([0, 1, 2, 3].map((offset) => (first + offset) % PEER_COUNT))
      }
    }
    if (this.#down !== undefined) await mesh.add(this.#down)
    this.#down = undefined
  }
}

describe('the collection', () => {
  const seeds = Array.from({ length: SEEDS }, (_, index) => index + 1)
  it.each(seeds)(
    'takes nothing that somebody has and leaves nothing else, seed %i',
    async (seed) => {
      const faults = { duplicatePerMille: 20, reorderPerMille: 20, delayMsMax: 20 }
      await using mesh = await FileMesh.start(PEER_COUNT, {
        faults,
        collector: { intervalMs: 1e9 }
      })
      const simulation = new Simulation(mesh, seed)

      await simulation.run()
      await mesh.clock.advance(60_000)

      for (const [name, possible] of simulation.names) {
        const { files } = mesh.peer(seed % PEER_COUNT)
        const code = await mesh.codeOf(files.stat(name))
        if (code !== undefined) {
          expect(code).toBe('not-found')
          expect(possible.has(undefined), `${name} is gone`).toBe(true)
          continue
        }
        const bytes = await mesh.run(readAll(files.get(name)))
        const found = [...possible].find(
          (content) =>
            content !== undefined && Buffer.compare(bytes, contentOf(content, 2_000)) === 0
        )
        expect(found, `${name} is what was put`).toBeDefined()
        await mesh.run(files.rm(name))
      }
      expect(simulation.counts.deleted).toBeGreaterThan(0)
      await mesh.cycles(4)
      expect(mesh.stored().size).toBe(0)
    },
    60_000
  )
})
