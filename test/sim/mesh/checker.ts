// What must hold at any time, whatever breaks: one leader in a term, equal states at equal indexes, and
// names that are used once.

import { stateHash } from '../../../src/core/machine/snapshot.ts'
import type { Replica } from '../../../src/shard/replica.ts'
import type { ShardLayer } from '../../../src/shard/shard-layer.ts'
import { Violation } from '../raft/violation.ts'
import type { MeshNode } from './node.ts'
import type { MeshWorld } from './world.ts'

export class Checker {
  readonly #world: MeshWorld
  /** Who led, by group, generation and term. */
  readonly #leaders = new Map<string, number>()
  /** Where a replica lives, by group, generation and id. */
  readonly #stores = new Map<string, string>()
  /** By group, generation and applied index. */
  readonly #hashes = new Map<string, { hash: string; node: string }>()
  /** Found where nothing can be thrown. */
  #violation: Violation | undefined

  constructor(world: MeshWorld) {
    this.#world = world
  }

  /** Looks at whatever changes in a node. */
  watch(node: MeshNode, layer: ShardLayer): void {
    layer.host.onChanged((group) => {
      const replica = layer.host.replica(group)
      if (replica === undefined) return
      try {
        this.#checkName(node, replica)
        this.#checkLeader(node, replica)
      } catch (error) {
        this.#violation ??= error as Violation
      }
    })
  }

  /** @throws Violation */
  check(): void {
    if (this.#violation !== undefined) throw this.#violation
    for (const node of this.#world.running) {
      const failure = node.running?.layer.host.failure()
      if (failure !== undefined && !node.isDoomed) {
        throw new Violation('GoesOn', `${node.name} failed with good disks: ${failure.message}`)
      }
      for (const replica of node.running?.layer.host.replicas() ?? [])
        this.#checkState(node, replica)
    }
  }

  #checkName({ store, name }: MeshNode, { group, generation, id }: Replica): void {
    const key = `${group}/${generation}/${id}`
    const before = this.#stores.get(key)
    this.#stores.set(key, store)
    if (before === undefined || before === store) return
    throw new Violation('UniqueNames', `replica ${key} is at ${name} and at another store`)
  }

  #checkLeader({ name }: MeshNode, { group, generation, id, term, isLeader }: Replica): void {
    if (!isLeader) return
    const key = `${group}/${generation}/${term}`
    const before = this.#leaders.get(key)
    const { trace } = this.#world
    if (before === undefined) trace.said(name, `group ${group}: replica ${id} leads term ${term}`)
    this.#leaders.set(key, id)
    if (before === undefined || before === id) return
    throw new Violation('ElectionSafety', `replicas ${before} and ${id} lead ${key}`)
  }

  #checkState({ name }: MeshNode, replica: Replica): void {
    const { group, generation, applied, state, hasEnded, isChecked } = replica
    // Before it is checked it may lack something, and serves nobody.
    if (hasEnded || !isChecked || applied.index === 0) return
    let hash: string
    try {
      hash = stateHash(state)
    } catch {
      // Damaged; the replica finds that out by itself.
      return
    }
    const key = `${group}/${generation}/${applied.index}`
    const known = this.#hashes.get(key)
    if (known === undefined) this.#hashes.set(key, { hash, node: name })
    else if (known.hash !== hash) {
      throw new Violation('EqualStates', `${known.node} and ${name} differ at ${key}`)
    }
  }
}
