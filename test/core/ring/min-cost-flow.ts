// The oracle for moves: the exact least number of copies, for given quotas and zone bounds, as a
// minimum-cost flow by successive shortest paths. Slow and plain, and shares no code with placement.

import { assert } from '../../../src/base/assert.ts'
import { type Layout, loadsOf } from '../../../src/core/ring/layout.ts'

class FlowNetwork {
  readonly #from: number[] = []
  readonly #to: number[] = []
  readonly #room: number[] = []
  readonly #cost: number[] = []
  readonly #out: number[][]

  constructor(nodes: number) {
    this.#out = Array.from({ length: nodes }, () => [])
  }

  connect(from: number, to: number, { room, cost }: { room: number; cost: number }): void {
    for (const [tail, head, free, price] of [
      [from, to, room, cost],
      [to, from, 0, -cost]
    ] as const) {
      this.#out[tail]?.push(this.#to.length)
      this.#from.push(tail)
      this.#to.push(head)
      this.#room.push(free)
      this.#cost.push(price)
    }
  }

  /** @returns the largest flow and its least cost. */
  solve(source: number, sink: number): { flow: number; cost: number } {
    let flow = 0
    let cost = 0
    for (;;) {
      const { distance, via } = this.#shortestPaths(source)
      if (distance[sink] === Infinity) return { flow, cost }
      for (let node = sink; node !== source;) {
        const edge = via[node] as number
        this.#room[edge] = (this.#room[edge] as number) - 1
        this.#room[edge ^ 1] = (this.#room[edge ^ 1] as number) + 1
        node = this.#from[edge] as number
      }
      flow++
      cost += distance[sink] as number
    }
  }

  /** Bellman and Ford with a queue: costs may be negative. */
  #shortestPaths(source: number): { distance: number[]; via: number[] } {
    const distance = this.#out.map(() => Infinity)
    const via = this.#out.map(() => -1)
    const queued = this.#out.map(() => false)
    const queue = [source]
    distance[source] = 0
    for (let head = 0; head < queue.length; head++) {
      const node = queue[head] as number
      queued[node] = false
      for (const edge of this.#out[node] as number[]) {
        if (this.#room[edge] === 0) continue
        const next = this.#to[edge] as number
        const reached = (distance[node] as number) + (this.#cost[edge] as number)
        if (reached >= (distance[next] as number)) continue
        distance[next] = reached
        via[next] = edge
        if (queued[next] === true) continue
        queued[next] = true
        queue.push(next)
      }
    }
    return { distance, via }
  }
}

/** Outweighs every cost of a whole layout, so that lower bounds on zones are met first. */
const BOUND_WORTH = 1_000_000

/**
 * @returns the fewest new replicas with which any layout of `next`'s members, with its loads and the
 * zone bounds these give, can follow `previous`.
 */
export function fewestMoves(previous: Layout, next: Layout): number {
  const { arcCount, members } = next
  const loads = loadsOf(next)
  const zones = [...new Set(members.filter((m) => m.weight > 0).map((m) => m.zone))]
  const copies = loads.reduce((sum, load) => sum + load, 0) / arcCount
  const nodeOfZone = (arc: number, zone: number): number =>
    2 + members.length + arcCount + arc * zones.length + zone
  const nodeOfArc = (arc: number): number => 2 + members.length + arc
  const network = new FlowNetwork(nodeOfZone(arcCount, 0))
  let required = 0
  for (const [index, { id, zone }] of members.entries()) {
    network.connect(0, 2 + index, { room: loads[index] as number, cost: 0 })
    if (loads[index] === 0) continue
    const before = previous.members.findIndex((member) => member.id === id)
    for (let arc = 0; arc < arcCount; arc++) {
      const row = previous.owners.subarray(
        arc * previous.replication,
        (arc + 1) * previous.replication
      )
      const cost = before >= 0 && row.includes(before) ? 0 : 1
      network.connect(2 + index, nodeOfZone(arc, zones.indexOf(zone)), { room: 1, cost })
    }
  }
  for (const [index, zone] of zones.entries()) {
    let total = 0
    for (const [member, load] of loads.entries()) if (members[member]?.zone === zone) total += load
    const least = Math.floor(total / arcCount)
    for (let arc = 0; arc < arcCount; arc++) {
      network.connect(nodeOfZone(arc, index), nodeOfArc(arc), { room: least, cost: -BOUND_WORTH })
      const room = Math.ceil(total / arcCount) - least
      network.connect(nodeOfZone(arc, index), nodeOfArc(arc), { room, cost: 0 })
    }
    required += least * arcCount
  }
  for (let arc = 0; arc < arcCount; arc++)
    network.connect(nodeOfArc(arc), 1, { room: copies, cost: 0 })
  const { flow, cost } = network.solve(0, 1)
  assert(flow === copies * arcCount, 'the quotas can be met')
  const moves = cost + required * BOUND_WORTH
  assert(moves >= 0 && moves <= flow, 'the zone bounds can be met')
  return moves
}
