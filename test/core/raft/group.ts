// Replicas of one group that a test drives by hand: no time passes and no message moves unless the
// test says so.

import { createRandom } from '../../../src/base/random.ts'
import { RAFT_DEFAULTS } from '../../../src/core/raft/config.ts'
import type { RaftConfig } from '../../../src/core/raft/config.ts'
import type { RaftEvent, Refused } from '../../../src/core/raft/events.ts'
import { MemoryStorage } from '../../../src/core/raft/memory-storage.ts'
import { EMPTY_CONFIG_STATE, NO_BYTES, createMessage } from '../../../src/core/raft/messages.ts'
import type {
  ConfigChange,
  ConfigChangeStep,
  ConfigState,
  Entry,
  Message,
  MessageDraft,
  NormalEntry,
  ReplicaId,
  Snapshot
} from '../../../src/core/raft/messages.ts'
import { Raft } from '../../../src/core/raft/raft.ts'
import type { Ready } from '../../../src/core/raft/ready.ts'

export const configOf = (
  voters: readonly ReplicaId[],
  more: Partial<ConfigState> = {}
): ConfigState => ({ ...EMPTY_CONFIG_STATE, voters, ...more })

export const normal = (term: number, index: number, text = ''): NormalEntry => ({
  type: 'normal',
  term,
  index,
  data: text === '' ? NO_BYTES : new TextEncoder().encode(text)
})

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (data: Uint8Array): string => new TextDecoder().decode(data)

/** @returns a change as `add-voter 4` or `remove 1, add-learner 5` say it. */
export function changeOf(
  words: string,
  transition: ConfigChange['transition'] = 'auto'
): ConfigChange {
  const steps = words
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
    .map((word) => {
      const [type, id] = word.split(' ')
      return { type: type as ConfigChangeStep['type'], id: Number(id) }
    })
  return { transition, steps, context: NO_BYTES }
}

/** How a replica finds its storage. */
export type Start = {
  readonly id: ReplicaId
  readonly members?: ConfigState
  /** The terms of the entries 1, 2, 3 … in its log. */
  readonly terms?: readonly number[]
  readonly term?: number
  readonly vote?: ReplicaId
  readonly commit?: number
  readonly snapshot?: Snapshot
  readonly config?: Partial<RaftConfig>
}

/** One replica, its storage, and what its driver has seen. */
export class Replica {
  readonly id: ReplicaId
  raft: Raft
  readonly storage: MemoryStorage = new MemoryStorage()
  readonly events: RaftEvent[] = []
  readonly applied: Entry[] = []
  readonly reads: string[] = []
  readonly readIndexes: number[] = []
  /** The members after each applied change. */
  configState: ConfigState
  readonly #config: Partial<RaftConfig>

  constructor(start: Start) {
    const { id, terms = [], term = terms.at(-1) ?? 0, vote = 0, commit = 0 } = start
    this.id = id
    this.#config = start.config ?? {}
    this.configState = start.members ?? EMPTY_CONFIG_STATE
    if (start.snapshot !== undefined) this.storage.applySnapshot(start.snapshot)
    else this.storage.setConfigState(this.configState)
    const first = this.storage.firstIndex()
    this.storage.append(terms.map((of, place) => normal(of, first + place, `e${first + place}`)))
    this.storage.setHardState({ term, vote, commit })
    this.raft = this.#start(start.snapshot?.index ?? 0)
  }

  #start(applied: number): Raft {
    const config = { ...RAFT_DEFAULTS, ...this.#config, id: this.id, applied }
    const trace = (event: RaftEvent): void => void this.events.push(event)
    return new Raft({ config, random: createRandom(this.id), storage: this.storage, trace })
  }

  /** The process ends and starts again; what was handed out and done is durable. */
  restart(): void {
    this.storage.setConfigState(this.configState)
    this.raft = this.#start(this.applied.at(-1)?.index ?? this.storage.firstIndex() - 1)
  }

  get state(): Raft['state'] {
    return this.raft.state
  }

  /** The texts of the applied entries; what opens a term is an empty text. */
  get appliedTexts(): string[] {
    return this.applied.map((entry) => (entry.type === 'normal' ? text(entry.data) : '(change)'))
  }

  /** Delivers a message to this replica; what the draft leaves out is 0 or empty. */
  step(draft: Omit<MessageDraft, 'to'>): Refused | undefined {
    return this.raft.step(createMessage({ ...draft, to: this.id }))
  }

  tick(count = 1): void {
    for (let n = 0; n < count; n++) this.raft.tick()
  }

  /** Writes down and applies what one Ready asks for, and says so. */
  process(): Ready {
    const ready = this.raft.take()
    if (ready.hardState !== undefined) this.storage.setHardState(ready.hardState)
    if (ready.snapshot !== undefined) {
      this.storage.applySnapshot(ready.snapshot)
      this.configState = ready.snapshot.configState
    }
    this.storage.append(ready.entries)
    for (const read of ready.readStates) {
      this.reads.push(text(read.context))
      this.readIndexes.push(read.index)
    }
    for (const entry of ready.committedEntries) {
      this.applied.push(entry)
      if (entry.type === 'config-change') {
        this.configState = this.raft.applyConfigChange(entry.change).configState
      }
    }
    this.raft.advance()
    return ready
  }

  /** Processes until nothing is left to do. @returns the messages to others */
  drain(): Message[] {
    const messages: Message[] = []
    while (this.raft.hasReady()) messages.push(...this.process().messages)
    return messages
  }

  /** Makes this replica win an election among voters that all say yes. */
  lead(): Message[] {
    this.raft.campaign()
    const messages = this.drain()
    if (this.state.role === 'pre-candidate') messages.push(...this.#grant('pre-vote-response'))
    if (this.state.role === 'candidate') messages.push(...this.#grant('vote-response'))
    return messages
  }

  #grant(type: 'vote-response' | 'pre-vote-response'): Message[] {
    const { voters, votersOutgoing } = this.raft.configState
    const term = this.state.term + (type === 'pre-vote-response' ? 1 : 0)
    const messages: Message[] = []
    for (const from of new Set([...voters, ...votersOutgoing])) {
      if (from !== this.id) this.step({ type, from, term })
    }
    messages.push(...this.drain())
    return messages
  }

  /** The log as `term/index` words, the durable part and the rest. */
  get log(): string {
    const { log } = this.state
    const all = log.slice(log.firstIndex, log.lastIndex + 1, Number.POSITIVE_INFINITY) ?? []
    return all.map(({ term, index }) => `${term}/${index}`).join(' ')
  }
}

/** @returns a replica of a group of three that knows nothing yet. */
export function replica(start: Partial<Start> = {}): Replica {
  return new Replica({ id: 1, members: configOf([1, 2, 3]), ...start })
}

/** Several replicas and the messages between them. */
export class Group {
  readonly replicas: Map<ReplicaId, Replica>
  /** Messages that were sent and not delivered. */
  network: Message[] = []
  readonly #cuts = new Set<string>()

  constructor(starts: readonly Start[]) {
    this.replicas = new Map(starts.map((start) => [start.id, new Replica(start)]))
  }

  /** Replicas 1 to `count`, all voters, with empty logs. */
  static of(count: number, config: Partial<RaftConfig> = {}): Group {
    const ids = Array.from({ length: count }, (_, index) => index + 1)
    return new Group(ids.map((id) => ({ id, members: configOf(ids), config })))
  }

  at(id: ReplicaId): Replica {
    const found = this.replicas.get(id)
    if (found === undefined) throw new Error(`There is no replica ${id}`)
    return found
  }

  /** From now on nothing gets from one side to the other, either way. */
  split(one: readonly ReplicaId[], other: readonly ReplicaId[]): void {
    for (const a of one) {
      for (const b of other) {
        this.#cuts.add(`${a}>${b}`)
        this.#cuts.add(`${b}>${a}`)
      }
    }
  }

  isolate(id: ReplicaId): void {
    this.split(
      [id],
      [...this.replicas.keys()].filter((other) => other !== id)
    )
  }

  heal(): void {
    this.#cuts.clear()
  }

  /** Lets everything happen that doesn't need time. What crosses a cut is lost. */
  settle(): void {
    for (let round = 0; round < 10_000; round++) {
      for (const one of this.replicas.values()) this.network.push(...one.drain())
      const messages = this.network
      this.network = []
      if (messages.length === 0) return
      for (const message of messages) {
        if (this.#cuts.has(`${message.from}>${message.to}`)) continue
        this.replicas.get(message.to)?.raft.step(message)
      }
    }
    throw new Error('The group does not come to rest')
  }

  tick(count = 1): void {
    for (let n = 0; n < count; n++) {
      for (const one of this.replicas.values()) one.tick()
      this.settle()
    }
  }

  elect(id: ReplicaId): Replica {
    this.at(id).raft.campaign()
    this.settle()
    const leader = this.at(id)
    if (leader.state.role !== 'leader') throw new Error(`Replica ${id} was not elected`)
    return leader
  }

  /** The leader makes room for replica `id`, unless that leads already. */
  handOver(id: ReplicaId): void {
    const [leader] = this.leaders
    if (leader !== undefined) this.at(leader).raft.transferLeader(id)
    this.settle()
  }

  /** The replicas that lead, of whatever term. */
  get leaders(): ReplicaId[] {
    return [...this.replicas.values()]
      .filter(({ state }) => state.role === 'leader')
      .map(({ id }) => id)
  }
}
