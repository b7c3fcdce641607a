// The contract in protocols/ against the code: golden bytes both ways, bytes that must be refused, and
// the limits and numbers that the documents state.

import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { toHex } from '../src/base/bytes.ts'
import { ERROR_CODES } from '../src/base/errors.ts'
import { peerId, sessionId, storeId } from '../src/base/ids.ts'
import { GIB, parseSize } from '../src/base/units.ts'
import { silentLogger } from '../src/base/log.ts'
import { createRandom } from '../src/base/random.ts'
import { membershipConfig } from '../src/core/membership/config.ts'
import { MemoryExecutor } from '../src/executor/memory/memory-executor.ts'
import { foundMesh } from '../src/mesh/genesis.ts'
import { identityFromSeed } from '../src/mesh/identity.ts'
import { MemoryNetwork } from '../src/net/memory/memory-network.ts'
import { MemoryWorld } from '../src/net/memory/memory-world.ts'
import type { ProtocolOptions, RequestHandler } from '../src/net/network.ts'
import { Node } from '../src/node/node.ts'
import { MemoryLogStore } from '../src/storage/memory/memory-log-store.ts'
import { MemoryStateStore } from '../src/storage/memory/memory-state-store.ts'
import { MemoryBlockStore } from '../src/storage/memory/memory-block-store.ts'
import { VirtualClock } from '../src/testing/virtual-clock.ts'
import { RAFT_SERVED_MAX } from '../src/shard/peer-links.ts'
import { SNAPSHOT_SERVED_MAX } from '../src/shard/snapshot-server.ts'
import { SHARD_FRAME_BYTES_MAX, SHARD_PROTOCOL } from '../src/wire/shard.ts'
import { RAFT_FRAME_BYTES_MAX, RAFT_PROTOCOL } from '../src/wire/shard-frame.ts'
import { SNAPSHOT_FRAME_BYTES_MAX, SNAPSHOT_PROTOCOL } from '../src/wire/shard-snapshot.ts'
import { CODECS, codeOf } from './wire/codecs.ts'
import {
  allVectors,
  bytesOf,
  codecOf,
  protocolFolders,
  PROTOCOLS_URL,
  readVectors
} from './wire/vector-files.ts'

const textOf = (path: string): string => readFileSync(new URL(path, PROTOCOLS_URL), 'utf8')

/** The cells of the first row of the table whose header begins with `first`. */
function tableRows(text: string, first: string): string[][] {
  const lines = text.split('\n')
  const header = lines.findIndex((line) => line.startsWith(`| ${first} |`))
  expect(header, `a table that begins with ${first}`).toBeGreaterThanOrEqual(0)
  const rows: string[][] = []
  for (const line of lines.slice(header + 2)) {
    if (!line.startsWith('|')) break
    rows.push(
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', ''))
    )
  }
  return rows
}

/** What protocols/shard says of its three streams. */
function shardStreams(): { id: string; frameBytesMax: number; servedPerPeerMax: number }[] {
  return tableRows(textOf('shard/README.md'), 'Stream').map(([id = '', frame = '', max]) => ({
    id,
    frameBytesMax: parseSize(frame),
    servedPerPeerMax: Number(max)
  }))
}

/** What a real node registers, protocol by protocol. */
function servedProtocols(): Map<string, ProtocolOptions> {
  const clock = new VirtualClock()
  const random = createRandom(1)
  const identity = identityFromSeed(new Uint8Array(32))
  const served = new Map<string, ProtocolOptions>()
  class Listening extends MemoryNetwork {
    override handle(protocol: string, options: ProtocolOptions, handler: RequestHandler): void {
      served.set(protocol, options)
      super.handle(protocol, options, handler)
    }
  }
  const network = new Listening(
    { world: new MemoryWorld({ clock, random }), log: silentLogger },
    { peerId: identity.peerId, address: '/memory/1', mesh: 'test' }
  )
  const journal = {
    remember: async () => {},
    saveSelf: async () => {},
    scrub: { load: () => Promise.resolve(undefined), save: async () => {} },
    saveLayout: async () => {},
    saveLog: async () => {}
  }
  const stores = {
    logStore: new MemoryLogStore({ clock }),
    stateStore: new MemoryStateStore({ clock }),
    defer: () => {},
    executor: new MemoryExecutor(
      { clock, behave: () => ({ durationMs: 0, result: { kind: 'lost', reason: '' } }) },
      { slots: 1 }
    )
  }
  const store = new MemoryBlockStore({}, { capacityBytes: GIB, arcCount: 4_096 })
  // Made and never started: the constructor registers what it serves.
  void new Node(
    { network, store, clock, random, log: silentLogger, journal, ...stores },
    {
      founding: foundMesh(identity, { createdMs: 0, nonce: new Uint8Array(16) }),
      hasLog: false,
      self: {
        peerId: peerId(identity.peerId),
        incarnation: 1,
        session: sessionId('0'.repeat(16)),
        storeId: storeId('0'.repeat(32)),
        revision: 1,
        name: 'n',
        zone: 'z',
        capacityBytes: GIB,
        labels: [],
        addresses: [],
        status: 'up'
      },
      membership: membershipConfig('local'),
      join: [],
      remembered: [],
      work: {
        offer: {
          cpuMilli: 0,
          memoryBytes: 0,
          gpus: 0,
          labels: new Map(),
          allowsExec: false,
          accepts: { submitters: undefined }
        },
        speedMilli: 1_000
      }
    }
  )
  return served
}

describe.each(allVectors())('vectors of $protocol', ({ protocol, golden, accepted, refused }) => {
  it.each([...golden])('$message: $name, both ways', (vector) => {
    const codec = codecOf(protocol, vector.message)

    expect(codec.decode(bytesOf(vector), vector)).toEqual(vector.value)
    expect(toHex(codec.encode(vector.value))).toBe(vector.hex)
  })

  it.each([...accepted])('$message: $name, read', (vector) => {
    const codec = codecOf(protocol, vector.message)

    expect(codec.decode(bytesOf(vector), vector)).toEqual(vector.value)
    expect(toHex(codec.encode(vector.value))).not.toBe(vector.hex)
  })

  it.each([...refused])('$message: $name, refused as $code', (vector) => {
    const codec = codecOf(protocol, vector.message)

    expect(codeOf(() => codec.decode(bytesOf(vector), vector))).toBe(vector.code)
  })

  it('names each vector once, and has some of each kind for every message', () => {
    const names = [...golden, ...accepted, ...refused].map((v) => `${v.message}: ${v.name}`)
    expect(new Set(names).size).toBe(names.length)
    for (const message of Object.keys(CODECS[protocol] ?? {})) {
      expect(golden.some((vector) => vector.message === message)).toBe(true)
      expect(refused.some((vector) => vector.message === message)).toBe(true)
    }
  })
})

describe('protocol folders', () => {
  const withSchema = protocolFolders().filter((name) =>
    existsSync(new URL(`${name}/v1.proto`, PROTOCOLS_URL))
  )

  it('are there', () => {
    expect(withSchema.length).toBeGreaterThanOrEqual(5)
  })

  it.each(withSchema)('%s has vectors, a codec of its name and a document', (name) => {
    expect(existsSync(new URL(`${name}/vectors.json`, PROTOCOLS_URL))).toBe(true)
    expect(existsSync(new URL(`${name}/README.md`, PROTOCOLS_URL))).toBe(true)
    expect(existsSync(new URL(`../src/wire/${name}.ts`, PROTOCOLS_URL))).toBe(true)
    expect(readVectors(name).golden.length).toBeGreaterThan(0)
    expect(Object.keys(CODECS[name] ?? {}).length).toBeGreaterThan(0)
  })

  it.each(protocolFolders())('%s has the header and the sections of the template', (name) => {
    const text = textOf(`${name}/README.md`)
    expect(tableRows(text, 'Protocol ID')).toHaveLength(1)
    if (name === 'frame') return // Its text is in CONVENTIONS.md.
    const sections = [...text.matchAll(/^## (.+)$/gm)].map(([, title]) => title)
    for (const title of ['Purpose', 'Roles', 'Rules', 'Failure and retry', 'Errors']) {
      expect(sections).toContain(title)
    }
    expect(sections).toContain('Compatibility')
    expect(sections).toContain('Security notes')
  })

  it('name only error codes that there are', () => {
    for (const name of protocolFolders()) {
      const text = textOf(`${name}/README.md`)
      if (!text.includes('\n| Code |')) continue
      for (const [cell = ''] of tableRows(text, 'Code')) {
        for (const code of cell.split(', ')) expect(Object.keys(ERROR_CODES)).toContain(code)
      }
    }
  })
})

describe('what the documents state', () => {
  it('protocol ids and frame limits are those that a node serves', () => {
    const stated = new Map<string, number>()
    for (const name of protocolFolders()) {
      const [row = []] = tableRows(textOf(`${name}/README.md`), 'Protocol ID')
      const [id = '', , , , , frameMax = ''] = row
      if (id !== '—') stated.set(id, parseSize(frameMax))
    }
    const served = new Map(
      [...servedProtocols()].map(([id, { frameBytesMax }]) => [id, frameBytesMax])
    )
    // Until a node has shards, it serves none of these.
    for (const { id, frameBytesMax } of shardStreams()) {
      if (served.has(id)) stated.set(id, frameBytesMax)
    }

    expect(Object.fromEntries(stated)).toEqual(Object.fromEntries(served))
  })

  it('the index has a row for every folder, with the same header', () => {
    const rows = tableRows(textOf('README.md'), 'Protocol')
    expect(rows.map(([name = '']) => name).toSorted()).toEqual(protocolFolders().toSorted())
    for (const [name, id, stage, , , , frameMax] of rows) {
      const [header = []] = tableRows(textOf(`${name}/README.md`), 'Protocol ID')
      expect([header[0], header[1], header[5]]).toEqual([id, stage, frameMax])
    }
  })

  it('how many requests are served at once', () => {
    const served = servedProtocols()
    for (const name of protocolFolders()) {
      const text = textOf(`${name}/README.md`).replaceAll('\n', ' ')
      const id = tableRows(textOf(`${name}/README.md`), 'Protocol ID')[0]?.[0] ?? ''
      if (id === '—') continue
      const [, stated] = /(\d+) (?:requests|messages) of a stream/.exec(text) ?? []
      expect([name, Number(stated)]).toEqual([name, served.get(id)?.servedPerPeerMax])
    }
  })

  it('the streams of shards, their limits and how many requests are served at once', () => {
    const served = servedProtocols()
    const stated = shardStreams()
    expect(stated.map(({ id, frameBytesMax }) => [id, frameBytesMax])).toEqual([
      [RAFT_PROTOCOL, RAFT_FRAME_BYTES_MAX],
      [SHARD_PROTOCOL, SHARD_FRAME_BYTES_MAX],
      [SNAPSHOT_PROTOCOL, SNAPSHOT_FRAME_BYTES_MAX]
    ])
    expect(stated[0]?.servedPerPeerMax).toBe(RAFT_SERVED_MAX)
    expect(stated[2]?.servedPerPeerMax).toBe(SNAPSHOT_SERVED_MAX)
    for (const { id, servedPerPeerMax } of stated) {
      if (served.has(id))
        expect([id, servedPerPeerMax]).toEqual([id, served.get(id)?.servedPerPeerMax])
    }
  })

  it('the error codes and their numbers', () => {
    const rows = tableRows(textOf('CONVENTIONS.md'), 'Number')
    const stated = rows.map(([number, code]) => [code, Number(number)])
    expect(Object.fromEntries(stated)).toEqual(ERROR_CODES)
  })
})
