// The replicas of a data file and the messages between them, with the steps that directives are
// made of.

import type { Random } from '../../../../src/base/random.ts'
import type { Refused } from '../../../../src/core/raft/events.ts'
import { APPEND_THREAD, APPLY_THREAD } from '../../../../src/core/raft/messages.ts'
import type { Message, MessageType, ReplicaId } from '../../../../src/core/raft/messages.ts'
import { DirectiveError } from './directive.ts'
import { Output } from './output.ts'
import type { Replica } from './replica.ts'
import { messageText, readyText } from './texts.ts'

/** Which messages are taken, and whether they arrive. */
export type Delivery = {
  readonly to: ReplicaId
  readonly isDropped: boolean
  readonly type?: MessageType | undefined
}

const isStorage = (id: ReplicaId): boolean => id === APPEND_THREAD || id === APPLY_THREAD

/** @returns whether a message never leaves its process, so that no network can lose it */
function isLocal({ from, to }: Message): boolean {
  return from === to || isStorage(from) || isStorage(to)
}

/** @returns what a directive says of an input that was refused; undefined when it says nothing */
export function refusalText(refused: Refused | undefined): string | undefined {
  if (refused?.refusal === 'unknown-replica') return 'raft: cannot step as peer not found'
  return refused?.refusal === 'proposal-dropped' ? 'raft proposal dropped' : undefined
}

export class Environment {
  /** The one with id 1 first. */
  readonly replicas: Replica[] = []
  /** On their way, oldest first. */
  messages: Message[] = []
  readonly output: Output = new Output()
  readonly random: Random

  constructor(random: Random) {
    this.random = random
  }

  replica(id: ReplicaId): Replica {
    const replica = this.replicas[id - 1]
    if (replica === undefined) throw new DirectiveError(`there is no replica ${id}`)
    return replica
  }

  text(message: Message): string {
    return messageText(message, { isDetailed: this.output.isDetailed })
  }

  /** Takes one Ready and does what it asks for. */
  processReady(replica: Replica): void {
    const { raft } = replica
    const ready = raft.take()
    this.output.write(readyText(ready, { isDetailed: this.output.isDetailed }))
    if (!replica.isAsync) {
      replica.write(ready)
      replica.apply(ready.committedEntries)
    }
    for (const message of ready.messages) {
      if (message.to === APPEND_THREAD) replica.appendWork.push(message)
      else if (message.to === APPLY_THREAD) replica.applyWork.push(message)
      else this.messages.push(message)
    }
    if (!replica.isAsync) raft.advance()
  }

  processAppend(replica: Replica): void {
    const message = replica.appendWork.shift()
    if (message === undefined) {
      this.output.write('no append work to perform')
      return
    }
    this.#announce(message)
    const { term, vote, commit, snapshot, entries } = message
    const hasHardState = term !== 0 || vote !== 0 || commit !== 0
    const hardState = hasHardState ? { term, vote, commit } : undefined
    replica.write({ hardState, snapshot, entries })
    this.#respond(message)
  }

  processApply(replica: Replica): void {
    const message = replica.applyWork.shift()
    if (message === undefined) {
      this.output.write('no apply work to perform')
      return
    }
    this.#announce(message)
    replica.apply(message.entries)
    this.#respond(message)
  }

  #announce(message: Message): void {
    this.output.write(`Processing:\n${this.text({ ...message, responses: [] })}\n`)
  }

  #respond({ responses }: Message): void {
    this.output.write('Responses:\n')
    for (const response of responses) this.output.write(`${this.text(response)}\n`)
    this.messages.push(...responses)
  }

  /** @returns how many messages were taken */
  deliver(delivery: Delivery): number {
    const isWanted = (message: Message): boolean =>
      message.to === delivery.to &&
      (delivery.type === undefined || message.type === delivery.type) &&
      !(delivery.isDropped && isLocal(message))
    const wanted = this.messages.filter(isWanted)
    this.messages = this.messages.filter((message) => !isWanted(message))
    for (const message of wanted) {
      this.output.write(`${delivery.isDropped ? 'dropped: ' : ''}${this.text(message)}\n`)
      if (delivery.isDropped) continue
      const problem = refusalText(this.replica(delivery.to).raft.step(message))
      if (problem !== undefined) this.output.write(`${problem}\n`)
    }
    return wanted.length
  }

  /** What a process has said to itself goes with it. */
  forgetLocal(id: ReplicaId): void {
    this.messages = this.messages.filter((message) => message.to !== id || !isLocal(message))
  }

  /** Goes on until nothing is left to be done: in rounds, each kind of work for all in turn. */
  stabilize(replicas: readonly Replica[]): void {
    let isDone = false
    while (!isDone) {
      const worked = [
        this.#each(replicas, 'handling Ready', this.#ready),
        this.#each(replicas, 'receiving messages', this.#received),
        this.#each(replicas, 'processing append thread', this.#appended),
        this.#each(replicas, 'processing apply thread', this.#applied)
      ]
      isDone = !worked.includes(true)
    }
  }

  /** @param next what a replica has to do */
  #each(
    replicas: readonly Replica[],
    title: string,
    next: (replica: Replica) => readonly (() => void)[]
  ): boolean {
    let hasWorked = false
    for (const replica of replicas) {
      const work = next(replica)
      if (work.length === 0) continue
      hasWorked = true
      this.output.write(`> ${replica.id} ${title}\n`)
      for (const action of work) this.output.indented(action)
    }
    return hasWorked
  }

  readonly #ready = (replica: Replica): (() => void)[] =>
    replica.raft.hasReady() ? [() => this.processReady(replica)] : []

  readonly #received = ({ id }: Replica): (() => void)[] =>
    this.messages.some(({ to }) => to === id)
      ? [() => void this.deliver({ to: id, isDropped: false })]
      : []

  readonly #appended = (replica: Replica): (() => void)[] =>
    replica.appendWork.map(() => () => this.processAppend(replica))

  readonly #applied = (replica: Replica): (() => void)[] =>
    replica.applyWork.map(() => () => this.processApply(replica))
}
