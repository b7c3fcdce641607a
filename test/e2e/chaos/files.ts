// Real processes, real disks, SIGKILL at random moments: no acknowledged file may be lost.
//
//   npm run chaos -- --cycles 50 --seed 7
//
// The seed decides which node is killed when and what is put; the processes' own timing is theirs.

import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { NodeProcess } from '../../../src/api/node-process.ts'
import { errorMessage } from '../../../src/base/errors.ts'
import { createRandom, pick, type Random } from '../../../src/base/random.ts'

const NODES = 5
const WRITERS = 3
const FILE_BYTES_MAX = 3_000_000
const GET_TIMEOUT_MS = 60_000
/** Between two puts of a writer, at most: what is put has to be read back from every node. */
const PUT_PAUSE_MS = 400
const READS_AT_ONCE = 6

type Acknowledged = { cid: string; hash: string; bytes: number }

class Chaos {
  readonly #random: Random
  readonly #nodes: NodeProcess[] = []
  readonly #acknowledged: Acknowledged[] = []
  readonly #problems: string[] = []
  readonly #root: string
  #refused = 0
  #reads = 0
  #writing = true

  constructor(seed: number, root: string) {
    this.#random = createRandom(seed)
    this.#root = root
  }

  async run(
    cycles: number
  ): Promise<{ acknowledged: number; refused: number; reads: number; problems: string[] }> {
    try {
      for (let index = 0; index < NODES; index++) await this.#start(index)
      await this.#everybodyMeets()
      const writers = Array.from({ length: WRITERS }, (_, index) =>
        this.#write(createRandom(this.#random.u32() + index))
      )
      for (let cycle = 1; cycle <= cycles; cycle++) await this.#cycle(cycle)
      this.#writing = false
      await Promise.all(writers)
      for (const index of this.#nodes.keys()) await this.#verify(index, this.#acknowledged)
    } finally {
      this.#writing = false
      await Promise.all(this.#nodes.map((node) => (node.isRunning ? node.stop() : node.exited)))
    }
    return {
      acknowledged: this.#acknowledged.length,
      refused: this.#refused,
      reads: this.#reads,
      problems: this.#problems
    }
  }

  async #cycle(cycle: number): Promise<void> {
    const victim = this.#random.below(NODES)
    await this.#pause(200 + this.#random.below(1_500))
    const before = this.#acknowledged.length
    await this.#nodes[victim]?.kill()
    await this.#pause(100 + this.#random.below(1_500))
    // What was acknowledged last is what was nearest to the kill.
    const live = [...this.#nodes.keys()].filter((index) => index !== victim)
    const recent = this.#acknowledged.slice(-20)
    for (const index of live) await this.#verify(index, recent)
    await this.#start(victim)
    await this.#verify(victim, recent)
    process.stdout.write(
      `cycle ${cycle}: node ${victim} killed and back; ${this.#acknowledged.length} files acknowledged ` +
        `(${this.#acknowledged.length - before} since), ${this.#refused} puts refused, ${this.#problems.length} problems\n`
    )
  }

  async #start(index: number): Promise<void> {
    const other = this.#nodes.find((node, number) => number !== index && node.isRunning)
    const join_ = other === undefined ? [] : ['--join', other.up.addresses[0] ?? '']
    this.#nodes[index] = await NodeProcess.start({
      dataDir: join(this.#root, String(index)),
      words: ['--preset', 'local', '--name', `n${index}`, '--capacity', '8GiB', ...join_],
      timeoutMs: 60_000
    })
  }

  async #everybodyMeets(): Promise<void> {
    for (let attempt = 0; attempt < 200; attempt++) {
      const counts = await Promise.all(
        this.#nodes.map(async (node) => {
          const status = await (
            await node.client()
          ).json<{ members: { state: string }[] }>('status')
          return status.members.filter(({ state }) => state === 'alive').length
        })
      )
      if (counts.every((count) => count === NODES)) return
      await this.#pause(100)
    }
    throw new Error('The nodes did not find each other')
  }

  /** Puts files through whatever node runs, until told to stop. A refusal is no problem; a lie is. */
  async #write(random: Random): Promise<void> {
    while (this.#writing) {
      const node = pick(random, this.#nodes)
      if (!node.isRunning) {
        await this.#pause(20)
        continue
      }
      const bytes = contents(random)
      await this.#pause(random.below(PUT_PAUSE_MS))
      try {
        const client = await node.client()
        const { cid } = await client.json<{ cid: string }>('files', {
          method: 'POST',
          body: Readable.from([bytes], { objectMode: false }),
          bodyBytes: bytes.length
        })
        this.#acknowledged.push({
          cid,
          bytes: bytes.length,
          hash: createHash('sha256').update(bytes).digest('hex')
        })
      } catch {
        this.#refused += 1
      }
    }
  }

  async #verify(index: number, files: readonly Acknowledged[]): Promise<void> {
    const node = this.#nodes[index]
    if (node === undefined || !node.isRunning) throw new Error(`Node ${index} should run`)
    const client = await node.client()
    let next = 0
    const reader = async (): Promise<void> => {
      for (let file = files[next++]; file !== undefined; file = files[next++]) await check(file)
    }
    const check = async (file: Acknowledged): Promise<void> => {
      this.#reads += 1
      try {
        const hash = createHash('sha256')
        const signal = AbortSignal.timeout(GET_TIMEOUT_MS)
        for await (const part of await client.stream(`files/${file.cid}`, { signal }))
          hash.update(part as Uint8Array)
        if (hash.digest('hex') !== file.hash)
          this.#problems.push(`${file.cid} is different on node ${index}`)
      } catch (error) {
        this.#problems.push(
          `${file.cid} (${file.bytes} bytes) on node ${index}: ${errorMessage(error)}`
        )
      }
    }
    await Promise.all(Array.from({ length: READS_AT_ONCE }, reader))
  }

  async #pause(durationMs: number): Promise<void> {
    await new Promise((resolve) => {
      setTimeout(resolve, durationMs)
    })
  }
}

/** Most files are small; some span several blocks. */
function contents(random: Random): Uint8Array {
  const length = random.below(10) < 7 ? random.below(50_000) : random.below(FILE_BYTES_MAX)
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  for (let offset = 0; offset + 4 <= length; offset += 4) view.setUint32(offset, random.u32())
  return bytes
}

/** @returns whether all is right */
export async function runFileChaos({
  cycles,
  seed
}: {
  cycles: number
  seed: number
}): Promise<boolean> {
  process.stdout.write(`seed ${seed}, ${cycles} cycles, ${NODES} nodes\n`)
  const root = await mkdtemp(join(tmpdir(), 'atoll-chaos-'))
  try {
    const { acknowledged, refused, reads, problems } = await new Chaos(seed, root).run(cycles)
    for (const problem of problems.slice(0, 20)) process.stdout.write(`PROBLEM ${problem}\n`)
    process.stdout.write(
      `seed ${seed}: ${acknowledged} files acknowledged, ${refused} puts refused, ${reads} reads, ` +
        `${problems.length} acknowledged files unreadable or different\n`
    )
    const isMeaningful = acknowledged >= cycles && reads >= acknowledged * NODES
    if (!isMeaningful)
      process.stdout.write('Too little was put or read for the run to mean anything\n')
    return isMeaningful && problems.length === 0
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}
