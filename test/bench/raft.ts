// What the consensus core costs by itself: three replicas in one thread, no disk, no network, and
// where its time goes.

import { createRandom } from '../../src/base/random.ts'
import { RAFT_DEFAULTS } from '../../src/core/raft/config.ts'
import { MemoryStorage } from '../../src/core/raft/memory-storage.ts'
import { EMPTY_CONFIG_STATE } from '../../src/core/raft/messages.ts'
import type { Message } from '../../src/core/raft/messages.ts'
import { Raft } from '../../src/core/raft/raft.ts'
import { Profile } from './profile.ts'

const ROUNDS = 5
const ENTRIES = 200_000
const PAYLOAD = new Uint8Array(64)
/** Batches between two compactions, so that memory stays as it would in a node. */
const COMPACT_ENTRIES = 8_192

type Part = { readonly raft: Raft; readonly storage: MemoryStorage }

class Trio {
  readonly #parts: Part[]
  readonly #leader: Part

  constructor(asyncStorageWrites: boolean) {
    const voters = [1, 2, 3]
    this.#parts = voters.map((id) => {
      const storage = new MemoryStorage()
      storage.setConfigState({ ...EMPTY_CONFIG_STATE, voters })
      const config = { ...RAFT_DEFAULTS, id, asyncStorageWrites }
      return { raft: new Raft({ config, random: createRandom(id), storage }), storage }
    })
    this.#leader = this.#parts[0] as Part
    this.#leader.raft.campaign()
    this.settle()
  }

  /** @returns how many entries the leader has applied. */
  get applied(): number {
    return this.#leader.raft.state.log.applied
  }

  propose(batch: number): void {
    const refused = this.#leader.raft.propose(Array.from({ length: batch }, () => PAYLOAD))
    if (refused !== undefined) throw new Error(refused.problem)
  }

  /** Lets every message arrive, and those that it causes. */
  settle(): void {
    let messages: readonly Message[] = []
    do {
      const next: Message[] = []
      for (const message of messages) this.#partOf(message.to).raft.step(message)
      for (const part of this.#parts) while (part.raft.hasReady()) this.#process(part, next)
      messages = next
    } while (messages.length > 0)
  }

  #partOf(id: number): Part {
    return this.#parts[id - 1] as Part
  }

  #process({ raft, storage }: Part, out: Message[]): void {
    const ready = raft.take()
    if (ready.hardState !== undefined) storage.setHardState(ready.hardState)
    storage.append(ready.entries)
    for (const message of ready.messages) {
      if (message.to > 0) out.push(message)
      else for (const response of message.responses) out.push(response)
    }
    if (!raft.state.config.asyncStorageWrites) raft.advance()
    const { applied } = raft.state.log
    if (applied - storage.firstIndex() > 2 * COMPACT_ENTRIES) {
      storage.compact(applied - COMPACT_ENTRIES)
    }
  }
}

/** @returns microseconds for each committed entry. */
function measure(batch: number, entries: number, isAsync: boolean): number {
  const trio = new Trio(isAsync)
  const before = trio.applied
  const startedMs = performance.now()
  for (let done = 0; done < entries; done += batch) {
    trio.propose(batch)
    trio.settle()
  }
  const tookMs = performance.now() - startedMs
  return (tookMs * 1_000) / (trio.applied - before)
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number

async function profile(batch: number): Promise<string[]> {
  const taken = await Profile.start()
  measure(batch, ENTRIES, false)
  return await taken.stop()
}

export async function run(print: (line: string) => void): Promise<void> {
  const cases = [1, 16, 128].flatMap((batch) => [
    { batch, isAsync: false, took: [] as number[] },
    { batch, isAsync: true, took: [] as number[] }
  ])
  for (const { batch, isAsync } of cases) measure(batch, ENTRIES / 4, isAsync)
  for (let round = 0; round < ROUNDS; round++) {
    for (const { batch, isAsync, took } of cases) {
      took.push(measure(batch, batch === 1 ? ENTRIES / 4 : ENTRIES, isAsync))
    }
  }
  print(
    `3 replicas, 1 thread, no disk, no network, ${PAYLOAD.length} B entries, medians of ${ROUNDS}`
  )
  const wanted: Readonly<Record<number, string>> = { 1: '<= 10', 128: '<= 1.5' }
  for (const { batch, isAsync, took } of cases) {
    const micros = median(took)
    const rate = Math.round(1_000_000 / micros).toLocaleString('en')
    const aim = wanted[batch] === undefined ? '' : ` (wanted ${wanted[batch]})`
    const mode = isAsync ? 'async' : 'sync '
    print(
      `batch ${String(batch).padStart(3)} ${mode}: ${micros.toFixed(2)} us per entry${aim}, ${rate} entries/s`
    )
  }
  for (const batch of [1, 128]) {
    print(`where the time goes, batch ${batch}, by own time:`)
    for (const line of await profile(batch)) print(line)
  }
}
