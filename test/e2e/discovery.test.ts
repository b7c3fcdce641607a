// Done-when 2: nodes that know one address find all the others, and the mesh outlives the node
// that they knew; and everybody may move to another port at once.

import { describe, expect, it } from 'vitest'
import { bytesOf, freePort, ProcessMesh, sha256, statusOf, until } from './process-mesh.ts'

const NODES = 10
const STARTS_AT_ONCE = 3
/** What is promised is 10 s; on a machine that is shared the test waits longer and prints the time. */
const SEEN_LIMIT_MS = 30_000

const listenOn = (port: number): string[] => ['--listen', `/ip4/127.0.0.1/tcp/${port}`]

describe('discovery', () => {
  it('ten nodes that know one address see all ten; the first one gone for good, a node restarted on a new port finds the mesh again', async () => {
    await using mesh = await ProcessMesh.create()

    const first = await mesh.start(0)
    const address = first.up.addresses[0] as string
    let lastStartMs = 0
    let next = 1
    const starter = async (): Promise<void> => {
      for (let index = next++; index < NODES; index = next++) {
        lastStartMs = performance.now()
        await mesh.start(index, { join: address })
      }
    }
    await Promise.all(Array.from({ length: STARTS_AT_ONCE }, starter))
    await mesh.everybodySees(NODES, SEEN_LIMIT_MS)
    const tookMs = performance.now() - lastStartMs
    process.stdout.write(
      `ten nodes saw all ten ${Math.round(tookMs)} ms after the start of the last\n`
    )
    expect(tookMs).toBeLessThan(SEEN_LIMIT_MS)

    await first.kill()
    const moved = mesh.at(7)
    const oldPort = portOf(moved.up.addresses[0])
    expect(await moved.stop()).toBe(0)
    const port = await freePort()
    const startedMs = performance.now()
    const again = await mesh.start(7, { join: undefined, words: listenOn(port) })

    expect(portOf(again.up.addresses[0])).toBe(port)
    expect(port).not.toBe(oldPort)
    await mesh.everybodySees(NODES - 1, SEEN_LIMIT_MS)
    for (const node of mesh.running) {
      const { members } = await statusOf(node)
      const seen = members.find(({ peerId }) => peerId === again.up.peerId)
      expect(seen?.state).toBe('alive')
      expect(seen?.addresses.map(portOf)).toContain(port)
    }
    process.stdout.write(
      `the moved node was seen by all ${Math.round(performance.now() - startedMs)} ms after its start\n`
    )
  })

  it('every node restarted at once, on new ports: one new address brings all together, and files are readable', async () => {
    await using mesh = await ProcessMesh.create(5)
    const bytes = bytesOf(2_500_000, 1)
    const { cid } = await mesh.put(3, bytes)
    const identities = mesh.nodes.map(({ up }) => up.peerId)

    await Promise.all(mesh.nodes.map((node) => node.kill()))
    const ports = await Promise.all(mesh.nodes.map(() => freePort()))
    const joined = `/ip4/127.0.0.1/tcp/${ports[2]}/p2p/${identities[2]}`
    await Promise.all(
      ports.map((port, index) =>
        mesh.start(index, { join: index === 2 ? undefined : joined, words: listenOn(port) })
      )
    )

    await mesh.everybodySees(5)
    expect(mesh.nodes.map(({ up }) => up.peerId)).toEqual(identities)
    for (const index of mesh.nodes.keys()) {
      expect(sha256(await mesh.get(index, cid))).toBe(sha256(bytes))
      const { members } = await mesh.status(index)
      for (const [other, port] of ports.entries()) {
        const member = members.find(({ peerId }) => peerId === identities[other])
        expect(member?.addresses.map(portOf)).toEqual([port])
      }
    }
  })

  it('every node restarted at once, on new ports: a chain of addresses brings all together too', async () => {
    await using mesh = await ProcessMesh.create(4)
    const identities = mesh.nodes.map(({ up }) => up.peerId)

    await Promise.all(mesh.nodes.map((node) => node.stop()))
    const ports = await Promise.all(mesh.nodes.map(() => freePort()))
    await Promise.all(
      ports.map((port, index) => {
        const before = `/ip4/127.0.0.1/tcp/${ports[index - 1]}/p2p/${identities[index - 1]}`
        return mesh.start(index, {
          join: index === 0 ? undefined : before,
          words: listenOn(port)
        })
      })
    )

    await mesh.everybodySees(4)
  })

  it('a node that joins an address where nobody answers keeps trying, says so, and founds nothing', async () => {
    await using mesh = await ProcessMesh.create()
    const port = await freePort()
    const waiting = mesh.spawn({
      dataDir: mesh.dirOf('waiting'),
      words: ['--preset', 'local', '--join', `/ip4/127.0.0.1/tcp/${port}`]
    })
    const serving = waiting.ready(60_000)

    await until('it says that it waits', 20_000, () =>
      Promise.resolve(waiting.stderr.includes('Still waiting for the mesh') || waiting.stderr)
    )
    expect(waiting.isRunning).toBe(true)
    const first = await mesh.start(0, { words: listenOn(port) })

    expect((await serving).meshId).toBe(first.up.meshId)
  })
})

function portOf(address: string | undefined): number {
  return Number(/\/tcp\/(\d+)/.exec(address ?? '')?.[1])
}
