// What every replica of a shard applies: entries of the log, one after the other, to an ordered
// store. Pure: same state and same entries, same state afterwards, byte for byte, whatever the
// batches and whenever it was restarted in between.

import { assert } from '../../base/assert.ts'
import { MeshError, isMeshError } from '../../base/errors.ts'
import { KnownClients, firstClientDeadline, forgetIdleClients } from './clients.ts'
import { recall, remember } from './clients.ts'
import { decode, encode } from './codec.ts'
import { decodeAnswer, decodeCommand, encodeAnswer } from './command.ts'
import type { Answer, Command } from './command.ts'
import { Compaction } from './compaction.ts'
import { endDueLeases } from './expiry.ts'
import { firstLeaseDeadline } from './leases.ts'
import { ANSWER_BYTES_MAX, LEASE_TTL_MS_MIN } from './limits.ts'
import { advance } from './machine-time.ts'
import { capability } from './operation.ts'
import type { AnyOperation, Service } from './operation.ts'
import type { OrderedState } from './ordered-state.ts'
import type { LogEntry, Outcome } from './outcome.ts'
import { ownOperations } from './own-operations.ts'
import { MachineReads } from './reads.ts'
import { encodeMeta, readMeta } from './records.ts'
import type { Meta } from './records.ts'
import { SERVICES } from './services.ts'
import { checkNoSlash } from './space.ts'
import { StagedState } from './staged-state.ts'
import { META_KEY, isCounted } from './state-keys.ts'
import type { Area } from './state-keys.ts'
import { Transaction } from './transaction.ts'
import type { RevisionEvents } from './transaction.ts'

/** A replica's state machine. */
export class Machine {
  /** What is applied, for readers. */
  readonly reads: MachineReads
  readonly #state: OrderedState
  readonly #staged: StagedState
  readonly #operations = new Map<string, AnyOperation>()
  readonly #services = new Map<Area, Service>()
  readonly #compaction = new Compaction()
  readonly #clients = new KnownClients()
  #meta: Meta
  /** Before this time nothing is due, whatever is done until then; derived, so -1 is always right. */
  #quietBelowMs = -1
  #halted: MeshError | undefined

  /** @param state stays the caller's; only the machine writes below its keys. */
  constructor(state: OrderedState, services: readonly Service[] = SERVICES) {
    this.#state = state
    this.#staged = new StagedState(state, isCounted)
    this.reads = new MachineReads(state)
    this.#meta = readMeta(state)
    for (const service of services) {
      for (const area of service.areas) {
        assert(!this.#services.has(area), `area ${area} belongs to one service`)
        this.#services.set(area, service)
      }
    }
    const operations = services.flatMap((service) => service.operations)
    for (const operation of [...ownOperations(this.#services), ...operations]) {
      const name = capability(operation)
      assert(!this.#operations.has(name), `one operation is called ${name}`)
      this.#operations.set(name, operation)
    }
  }

  /** Of the last entry that was applied: the log goes on after it. */
  get index(): number {
    return this.#meta.index
  }

  /** Of the last transaction that changed a key. */
  get revision(): number {
    return this.#meta.revision
  }
  /** The shard's time; {@link LeaderClock} goes on from it. */
  get timeMs(): number {
    return this.#meta.timeMs
  }

  /** What replicas with this program can apply, as `kv.txn@1`, sorted. Told in the hello exchange. */
  get capabilities(): string[] {
    return [...this.#operations.keys()].toSorted()
  }

  /** Whether it is one of the {@link capabilities}. */
  canApply(name: string): boolean {
    return this.#operations.has(name)
  }

  /**
   * For the leader, before it proposes: a command that isn't in order never gets into the log, nor
   * does one that a member can't apply.
   *
   * @param isSupported whether all members can apply what `capabilities` calls so.
   * @returns why not: invalid-data, too-large, version-mismatch.
   */
  problemOf(bytes: Uint8Array, isSupported?: (name: string) => boolean): MeshError | undefined {
    try {
      const command = decodeCommand(bytes)
      decode(this.#operationOf(command).args, command.args)
      const name = capability({ name: command.operation, version: command.version })
      if (isSupported?.(name) === false) {
        const problem = `a member of the shard doesn't know ${name}; bring it up to date`
        throw new MeshError('version-mismatch', `Cannot do that yet: ${problem}`)
      }
      return undefined
    } catch (error) {
      if (isMeshError(error)) return error
      throw error
    }
  }

  /**
   * Applies entries, which follow each other and the last one applied. Everything is written by the
   * end of the call, the index of the last one with it; the driver commits its transaction then, or
   * drops it and calls `reload`. Any bytes are answered, none throw.
   *
   * @returns an outcome for each, up to one that halts the machine.
   */
  apply(entries: readonly LogEntry[]): Outcome[] {
    const outcomes: Outcome[] = []
    const before = this.#meta.index
    for (const entry of entries) {
      const outcome = this.#applyOne(entry)
      outcomes.push(outcome)
      if (outcome.kind === 'halted') break
    }
    if (this.#meta.index > before) this.#state.put(META_KEY, encodeMeta(this.#meta))
    return outcomes
  }

  /**
   * When the leader should propose a tick if nothing else is proposed by then: a lease ends, or
   * space that is short can be freed. undefined: nothing waits for time.
   */
  get dueMs(): number | undefined {
    const lease = firstLeaseDeadline(this.#state)?.deadlineMs
    const compaction = this.#compaction.dueMs(this.#state, this.#meta)
    if (lease === undefined || compaction === undefined) return lease ?? compaction
    return Math.min(lease, compaction)
  }

  /** Reads the state anew, after a snapshot was installed or a transaction dropped. */
  reload(): void {
    this.#staged.discard()
    this.#clients.clear()
    this.#meta = readMeta(this.#state)
    this.#quietBelowMs = -1
    this.#halted = undefined
    this.#compaction.reset()
  }

  #applyOne({ index, term, bytes }: LogEntry): Outcome {
    if (index <= this.#meta.index) return { kind: 'skipped', index }
    if (this.#halted !== undefined) return { kind: 'halted', index, error: this.#halted }
    assert(index === this.#meta.index + 1, `entry ${index} follows ${this.#meta.index}`)
    assert(term >= this.#meta.term, `terms don't fall from ${this.#meta.term} to ${term}`)
    if (bytes.length === 0) return this.#applied({ index, term }, undefined)
    let command: Command
    let operation: AnyOperation
    try {
      command = decodeCommand(bytes)
      operation = this.#operationOf(command)
    } catch (error) {
      if (!isMeshError(error)) throw error
      if (error.code !== 'version-mismatch') {
        return this.#applied({ index, term }, { kind: 'refused', error })
      }
      this.#halted = error
      return { kind: 'halted', index, error }
    }
    this.#meta.timeMs = advance(this.#meta.timeMs, command.stampMs)
    const changes = this.#settle(index)
    return this.#answer({ index, term }, command, { operation, changes })
  }

  /** Does what time has brought. @returns what that changed. */
  #settle(index: number): RevisionEvents[] {
    const meta = this.#meta
    let ended: RevisionEvents[] = []
    if (meta.timeMs >= this.#quietBelowMs) {
      const leases = endDueLeases(this.#staged, { meta, index, services: this.#services })
      const { clientCount } = meta
      const areClientsDone = forgetIdleClients(this.#staged, meta)
      if (meta.clientCount < clientCount) this.#clients.clear()
      ended = leases.ended
      this.#quietBelowMs = leases.isDone && areClientsDone ? this.#nextDueMs() : -1
    }
    this.#compaction.run(this.#staged, meta)
    meta.usedBytes += this.#staged.commit()
    return ended
  }

  /** What isn't there yet will be due {@link LEASE_TTL_MS_MIN} after it was made, or later. */
  #nextDueMs(): number {
    const leaseMs = firstLeaseDeadline(this.#staged)?.deadlineMs ?? Infinity
    const clientMs = firstClientDeadline(this.#staged)?.deadlineMs ?? Infinity
    return Math.min(leaseMs, clientMs, this.#meta.timeMs + LEASE_TTL_MS_MIN)
  }

  #answer(
    at: { index: number; term: number },
    command: Command,
    { operation, changes }: { operation: AnyOperation; changes: RevisionEvents[] }
  ): Outcome {
    const { client, sequence, answeredBelow } = command
    if (client === 0)
      return this.#applied(at, this.#run(at.index, command, operation, changes), changes)
    const known = recall(this.#staged, this.#clients, command)
    if (known.kind === 'refused') return this.#applied(at, known, changes)
    if (known.kind === 'repeated') {
      return { ...this.#applied(at, decodeAnswer(known.answer), changes), isRepeated: true }
    }
    const answer = this.#run(at.index, command, operation, changes)
    const { timeMs } = this.#meta
    const encoded = encodeAnswer(answer)
    const answered = { client, sequence, answeredBelow, answer: encoded, timeMs }
    remember(this.#staged, this.#clients, answered)
    this.#staged.commit()
    return this.#applied(at, answer, changes)
  }

  /** Does what is asked, or nothing. What changed is added to `changes`. */
  #run(
    index: number,
    command: Command,
    operation: AnyOperation,
    changes: RevisionEvents[]
  ): Answer {
    const meta = this.#meta
    const before = { ...meta }
    const { space } = command
    try {
      checkNoSlash(space)
      const args = decode(operation.args, command.args)
      const transaction = new Transaction({ state: this.#staged, meta, index, space })
      const result = encode(operation.result, operation.apply(transaction, args))
      if (result.length > ANSWER_BYTES_MAX) throw tooMuch(result.length)
      const events = transaction.finish()
      // It may have forgotten one.
      if (operation.name.startsWith('client.')) this.#clients.clear()
      if (transaction.hasGrown && operation.isFreeing !== true) this.#checkQuota()
      meta.usedBytes += this.#staged.commit()
      if (events !== undefined) {
        meta.revision = events.revision
        changes.push(events)
      }
      return { kind: 'done', revision: meta.revision, result }
    } catch (error) {
      this.#staged.discard()
      this.#meta = before
      if (isMeshError(error)) return { kind: 'refused', error }
      throw error
    }
  }

  #checkQuota(): void {
    const { usedBytes, settings } = this.#meta
    const growth = this.#staged.growthBytes
    if (growth <= 0 || usedBytes + growth <= settings.quotaBytes) return
    const problem = `${usedBytes} of ${settings.quotaBytes} bytes are used`
    throw new MeshError('quota-exceeded', `Cannot put: ${problem}; delete something first`)
  }

  /** @throws version-mismatch */
  #operationOf({ operation: name, version }: Command): AnyOperation {
    const operation = this.#operations.get(capability({ name, version }))
    if (operation !== undefined) return operation
    const problem = `this program doesn't know ${capability({ name, version })}`
    throw new MeshError(
      'version-mismatch',
      `Cannot apply an entry: ${problem}; bring it up to date`
    )
  }

  #applied(
    { index, term }: { index: number; term: number },
    answer: Answer | undefined,
    changes: readonly RevisionEvents[] = []
  ): Outcome & { kind: 'applied' } {
    this.#meta.index = index
    this.#meta.term = term
    return { kind: 'applied', index, answer, isRepeated: false, changes }
  }
}

function tooMuch(length: number): MeshError {
  const bound = `at most ${ANSWER_BYTES_MAX} fit; ask for less at once`
  return new MeshError('too-large', `The answer has ${length} bytes; ${bound}`)
}
