// What the log store makes of a disk: durable entries and batches a second at 1, 64 and 256 writers,
// each with one entry under way, beside what the same disk gives for bare synced writes, in turns.

import { closeSync, constants, fdatasyncSync, openSync, rmSync, write, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'

import { silentLogger } from '../../src/base/log.ts'
import { MIB } from '../../src/base/units.ts'
import type { Entry } from '../../src/core/raft/messages.ts'
import { nodeFileOps, type FileOps } from '../../src/storage/file/file-ops.ts'
import { FileLogStore } from '../../src/storage/file/log/file-log-store.ts'
import { systemClock } from '../../src/node/system-clock.ts'

const ROUNDS = 5
const ROUND_MS = 1_500
const GROUPS = 32
const PAYLOAD = new Uint8Array(160)
/** Entries between two truncations of a group, so that segments are given back as in a node. */
const TRUNCATE_ENTRIES = 2_000
const RAW_BYTES = 4_096
const FILE_BYTES: number = 16 * MIB

type Rates = { entries: number; batches: number; p50Ms: number }

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number

/** @returns how many writes of 4 KiB over zeros the disk makes durable in a second, one by one. */
async function rawRate(dir: string): Promise<number> {
  const path = join(dir, 'raw')
  const filled = openSync(path, 'w')
  const zeros = new Uint8Array(MIB)
  for (let position = 0; position < FILE_BYTES; position += MIB) {
    writeSync(filled, zeros, 0, MIB, position)
  }
  fdatasyncSync(filled)
  closeSync(filled)
  const descriptor = openSync(path, constants.O_RDWR | constants.O_DSYNC)
  const bytes = new Uint8Array(RAW_BYTES).fill(7)
  const startedMs = performance.now()
  let count = 0
  while (performance.now() - startedMs < ROUND_MS / 3) {
    await new Promise<void>((resolve, reject) => {
      const position = (count * RAW_BYTES) % FILE_BYTES
      write(descriptor, bytes, 0, RAW_BYTES, position, (error) =>
        error === null ? resolve() : reject(error)
      )
    })
    count += 1
  }
  const tookMs = performance.now() - startedMs
  closeSync(descriptor)
  rmSync(path)
  return (count * 1_000) / tookMs
}

/** Counts the writes to segments: each is one sync. */
function counting(): { ops: FileOps; syncs: () => number } {
  let count = 0
  const ops: FileOps = {
    ...nodeFileOps,
    async open(path, mode, permissions) {
      const file = await nodeFileOps.open(path, mode, permissions)
      if (mode !== 'log') return file
      return {
        read: (buffer, position) => file.read(buffer, position),
        readNow: (buffer, position) => file.readNow(buffer, position),
        write: (bytes, position) => {
          count += 1
          return file.write(bytes, position)
        },
        sync: () => file.sync(),
        size: () => file.size(),
        close: () => file.close()
      }
    }
  }
  return { ops, syncs: () => count }
}

async function measure(dir: string, writers: number): Promise<Rates> {
  const { ops, syncs } = counting()
  const components = { ops, clock: systemClock, logger: silentLogger }
  const store = new FileLogStore(components, { dir })
  await store.open()
  const nextOf = Array.from({ length: GROUPS }, () => 1)
  const waits: number[] = []
  const startedMs = performance.now()
  const startedSyncs = syncs()
  let entries = 0
  const work = async (writer: number): Promise<void> => {
    const group = writer % GROUPS
    while (performance.now() - startedMs < ROUND_MS) {
      const index = nextOf[group] as number
      nextOf[group] = index + 1
      const entry: Entry = { type: 'normal', term: 1, index, data: PAYLOAD }
      const truncateTo = index % TRUNCATE_ENTRIES === 0 ? index - 500 : undefined
      const askedMs = performance.now()
      await store.write([{ group, entries: [entry], truncateTo }])
      waits.push(performance.now() - askedMs)
      entries += 1
    }
  }
  await Promise.all(Array.from({ length: writers }, (_, writer) => work(writer)))
  const tookS = (performance.now() - startedMs) / 1_000
  const batches = (syncs() - startedSyncs) / tookS
  await store.close()
  await rm(join(dir, 'log'), { recursive: true })
  return { entries: entries / tookS, batches, p50Ms: median(waits) }
}

export async function run(print: (line: string) => void): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'atoll-bench-log-'))
  const cases = [1, 64, 256].map((writers) => ({ writers, results: [] as Rates[] }))
  const raw: number[] = []
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const { writers, results } of cases) {
        raw.push(await rawRate(dir))
        results.push(await measure(dir, writers))
      }
    }
  } finally {
    await rm(dir, { recursive: true })
  }
  const rawMedian = median(raw)
  print(`${PAYLOAD.length} B entries, ${GROUPS} groups, medians of ${ROUNDS} rounds`)
  print(`the disk: ${rawMedian.toFixed(0)} synced writes of 4 KiB a second, one by one`)
  for (const { writers, results } of cases) {
    const entries = median(results.map((result) => result.entries))
    const batches = median(results.map((result) => result.batches))
    const p50Ms = median(results.map((result) => result.p50Ms))
    const aim = writers === 256 ? ' (wanted >= 35 000)' : ''
    print(
      `${String(writers).padStart(3)} writers: ${entries.toFixed(0).padStart(6)} entries/s${aim}, ` +
        `${batches.toFixed(0)} batches/s = ${(batches / rawMedian).toFixed(2)} x the disk, ` +
        `p50 ${p50Ms.toFixed(2)} ms`
    )
  }
}
