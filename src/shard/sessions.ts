// The client ids under which this node's commands are remembered by a shard, so that one that is
// sent twice is done once. A shard gives an id and remembers a window of answers for it.

import { isMeshError, type ErrorCode, type MeshError } from '../base/errors.ts'
import { ANSWERS_PER_CLIENT } from '../core/machine/limits.ts'

/** Commands of one session that may be under way: fewer than answers are remembered. */
const WINDOW: number = ANSWERS_PER_CLIENT - 56
/** Sessions of this node with one shard. */
const SESSIONS_MAX = 16

/** A registration that ended so may go better when it is begun again. */
const PASSING: ReadonlySet<ErrorCode> = new Set(['no-quorum', 'timeout', 'overloaded'])

/** A command's place: it keeps it however often it is sent. */
export type Ticket = {
  readonly client: number
  readonly sequence: number
  /** The answers of all sequences below are here. */
  answeredBelow(): number
  /** The answer has come, or nobody waits for it any more. */
  done(): void
  /** The shard has forgotten the session. */
  expired(): void
}

class Session {
  readonly client: number
  readonly #underWay = new Set<number>()
  #next = 1
  isExpired = false

  constructor(client: number) {
    this.client = client
  }

  /** The lowest sequence without an answer. */
  get floor(): number {
    for (const sequence of this.#underWay) return sequence
    return this.#next
  }

  get hasRoom(): boolean {
    return !this.isExpired && this.#next - this.floor < WINDOW
  }

  take(freed: () => void): Ticket {
    const sequence = this.#next++
    this.#underWay.add(sequence)
    return {
      client: this.client,
      sequence,
      answeredBelow: () => this.floor,
      done: () => {
        this.#underWay.delete(sequence)
        freed()
      },
      expired: () => {
        this.isExpired = true
      }
    }
  }
}

export class Sessions {
  /** Why the shard took no registration the last time, when it was too busy for that. */
  overload: MeshError | undefined
  readonly #register: () => Promise<number>
  #sessions: Session[] = []
  #registering: Promise<void> | undefined
  readonly #waiting = new Set<() => void>()

  /** @param register asks the shard for a new client id */
  constructor(register: () => Promise<number>) {
    this.#register = register
  }

  /** @returns undefined when one has to be waited for */
  tryTicket(): Ticket | undefined {
    return this.#sessions.find(({ hasRoom }) => hasRoom)?.take(() => this.#freed())
  }

  /**
   * Waits while too many commands are under way, or nobody registers this node.
   *
   * @throws `signal.reason`; what registering was refused with
   */
  async ticket(signal: AbortSignal): Promise<Ticket> {
    for (;;) {
      signal.throwIfAborted()
      const ticket = this.tryTicket()
      if (ticket !== undefined) return ticket
      this.#sessions = this.#sessions.filter(({ isExpired }) => !isExpired)
      if (this.#sessions.length < SESSIONS_MAX) {
        await this.#registered(signal)
      } else await this.#room(signal)
    }
  }

  /** Others may have begun it: that their time is over says nothing of this one's. */
  async #registered(signal: AbortSignal): Promise<void> {
    this.#registering ??= this.#add()
    const aborted = Promise.withResolvers<void>()
    const onAbort = (): void => aborted.resolve()
    signal.addEventListener('abort', onAbort)
    try {
      await Promise.race([this.#registering, aborted.promise])
    } catch (error) {
      if (!isMeshError(error) || !PASSING.has(error.code)) throw error
      this.overload = error.code === 'overloaded' ? error : undefined
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #add(): Promise<void> {
    try {
      const client = await this.#register()
      // Not in one expression: the list may be another one by then.
      this.#sessions.push(new Session(client))
    } finally {
      this.#registering = undefined
    }
  }

  async #room(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = (): void => {
        signal.removeEventListener('abort', end)
        this.#waiting.delete(end)
        resolve()
      }
      this.#waiting.add(end)
      signal.addEventListener('abort', end)
    })
  }

  #freed(): void {
    for (const resume of this.#waiting) resume()
  }
}

/** The sessions with each group. */
export class SessionTable {
  readonly #register: (group: number) => Promise<number>
  readonly #sessions = new Map<number, Sessions>()

  constructor(register: (group: number) => Promise<number>) {
    this.#register = register
  }

  of(group: number): Sessions {
    const known = this.#sessions.get(group)
    if (known !== undefined) return known
    const sessions = new Sessions(async () => await this.#register(group))
    this.#sessions.set(group, sessions)
    return sessions
  }
}
