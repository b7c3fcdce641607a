// mDNS in the lan preset, on a network that the test makes for itself. It needs root and iproute2;
// where they are missing it says so, loudly.

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { NodeStatus } from '../../src/node/status.ts'
import { Lan, whyNoNamespaces, type LanNode } from './lan.ts'
import { until } from './process-mesh.ts'

const NODES = 3
const INDEXES = Array.from({ length: NODES }, (_, index) => index)
const FOUND_LIMIT_MS = 60_000
/** Nodes listen on this port plus their number: nobody else is in their network. */
const FIRST_PORT = 5_000
const OTHER_PORT = 6_000

describe('mDNS', () => {
  it('nodes that all moved to other ports find each other again, told nothing', async (context) => {
    const reason = await whyNoNamespaces()
    if (reason !== undefined) {
      console.warn(`mDNS WAS NOT TESTED: ${reason}`)
      context.skip(`mDNS was not tested: ${reason}`)
    }
    await using lan = await Lan.create(NODES)
    const start = async (index: number, port: number, more: string[] = []): Promise<LanNode> => {
      const words = ['--preset', 'lan', '--name', `n${index}`, '--capacity', '1GiB']
      const listen = `/ip4/0.0.0.0/tcp/${port + index}`
      return await lan.up(index, [...words, '--listen', listen, ...more])
    }
    const first = await start(0, FIRST_PORT)
    const founder = first.up.addresses.find((address) => address.includes(lan.addressOf(0)))
    expect(founder).toBeDefined()
    const joiners = INDEXES.slice(1).map((index) =>
      start(index, FIRST_PORT, ['--join', founder ?? ''])
    )
    const before = [first, ...(await Promise.all(joiners))]
    await allSeeAll(lan, FIRST_PORT)
    const path = join(lan.root, 'file')
    const bytes = randomBytes(300_000)
    await writeFile(path, bytes)
    const put = JSON.parse(String(await lan.atoll(1, ['put', path, '--json']))) as { cid: string }

    await Promise.all(before.map((node) => node.kill()))
    // What they remember of each other leads nowhere now, and nobody is told an address.
    const startedMs = performance.now()
    const after = await Promise.all(INDEXES.map((index) => start(index, OTHER_PORT)))
    await allSeeAll(lan, OTHER_PORT)
    process.stdout.write(
      `found by mDNS ${Math.round(performance.now() - startedMs)} ms after the start\n`
    )

    expect(after.map(({ up }) => up.peerId)).toEqual(before.map(({ up }) => up.peerId))
    expect(new Set(after.map(({ up }) => up.meshId))).toEqual(new Set([first.up.meshId]))
    for (const index of INDEXES) {
      expect(await lan.atoll(index, ['get', put.cid])).toEqual(bytes)
    }
  })
})

async function statusOf(lan: Lan, index: number): Promise<NodeStatus> {
  return JSON.parse(String(await lan.atoll(index, ['status', '--json']))) as NodeStatus
}

/** Waits until every node sees every other alive, at the port of this run. */
async function allSeeAll(lan: Lan, port: number): Promise<void> {
  await until('every node sees every other where it is', FOUND_LIMIT_MS, async () => {
    for (const index of INDEXES) {
      const { members } = await statusOf(lan, index)
      for (const other of INDEXES) {
        const member = members.find(({ name }) => name === `n${other}`)
        const address = `/ip4/${lan.addressOf(other)}/tcp/${port + other}`
        const found = member?.state === 'alive' && member.addresses.includes(address)
        if (!found) return `node ${index} sees ${JSON.stringify(member)}, not ${address}`
      }
    }
    return true
  })
}
