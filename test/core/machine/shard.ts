// A shard with one replica, as a leader would drive it, for tests: each call is one entry.

import { utf8 } from '../../../src/base/bytes.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import { encodeCommand, request, resultOf } from '../../../src/core/machine/command.ts'
import type { Answer, Request } from '../../../src/core/machine/command.ts'
import { checkStateInvariants } from '../../../src/core/machine/invariants.ts'
import { TXN } from '../../../src/core/machine/kv.ts'
import type { Part, Txn, TxnResult } from '../../../src/core/machine/kv.ts'
import { ACQUIRE, CANCEL, RELEASE } from '../../../src/core/machine/locks.ts'
import type { AcquireResult, CancelResult } from '../../../src/core/machine/locks.ts'
import { Machine } from '../../../src/core/machine/machine.ts'
import type { LogEntry, Outcome } from '../../../src/core/machine/outcome.ts'
import { MemoryState } from '../../../src/core/machine/memory-state.ts'
import type { Operation } from '../../../src/core/machine/operation.ts'
import {
  CONFIGURE,
  GRANT,
  KEEP_ALIVE,
  REGISTER,
  REVOKE,
  TICK
} from '../../../src/core/machine/own-operations.ts'
import { SETTINGS_DEFAULTS } from '../../../src/core/machine/records.ts'
import type { Settings } from '../../../src/core/machine/records.ts'
import { spanOfPrefix } from '../../../src/core/machine/space.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'

type Applied = Extract<Outcome, { kind: 'applied' }>
/** Which client's which request. */
export type From = { client: number; sequence: number; answeredBelow?: number }

export class Shard {
  readonly state: MemoryState = new MemoryState()
  readonly machine: Machine = new Machine(this.state)
  /** All entries so far. */
  readonly log: LogEntry[] = []
  /** The leader's stamp of the next entries. */
  nowMs = 0
  readonly space: string

  constructor(space = 'kv') {
    this.space = space
  }

  applyBytes(bytes: Uint8Array): Outcome {
    const entry = { index: this.machine.index + 1, term: 1, bytes }
    this.log.push(entry)
    return this.machine.apply([entry])[0] as Outcome
  }

  applyRequest(asked: Request): Applied {
    const outcome = this.applyBytes(encodeCommand({ ...asked, stampMs: this.nowMs }))
    if (outcome.kind !== 'applied') throw new Error(`the entry was ${outcome.kind}`)
    return outcome
  }

  /** @throws what it was refused with. */
  run<A, R>(operation: Omit<Operation<A, R>, 'apply'>, args: A, from?: From): R {
    const space = utf8(this.space)
    const operation_ = operation as Operation<A, R>
    const { answer } = this.applyRequest(request(operation_, args, { space, ...from }))
    return resultOf(operation_, answer as Answer)
  }

  txn(txn: Partial<Txn>, from?: From): TxnResult {
    return this.run(TXN, { compares: [], success: [], failure: [], ...txn }, from)
  }

  do(...parts: Part[]): TxnResult['results'] {
    return this.txn({ success: parts }).results
  }

  put(key: string, value: string, lease = 0): void {
    this.do({ kind: 'put', key: utf8(key), value: utf8(value), lease })
  }

  delete(key: string): number {
    const [result] = this.do({ kind: 'delete', key: utf8(key) })
    return result?.kind === 'deleted' ? result.count : -1
  }

  get(key: string, revision?: number): string | undefined {
    const { entry } = this.machine.reads.get({ area: AREAS.kv, key: utf8(key) }, revision)
    return entry === undefined ? undefined : text(entry.value)
  }

  /** `key=value` of all keys that begin so. */
  list(prefix: string, revision?: number): string[] {
    const span = spanOfPrefix(utf8(prefix))
    const found: string[] = []
    let from: Uint8Array | undefined = span.from
    let at = revision
    while (from !== undefined) {
      const asked = at === undefined ? {} : { revision: at }
      const page = this.machine.reads.range({ area: AREAS.kv, ...span, from, ...asked })
      found.push(...page.entries.map(({ key, value }) => `${text(key)}=${text(value)}`))
      from = page.next
      at = page.revision
    }
    return found
  }

  grant(ttlMs: number): number {
    return this.run(GRANT, { ttlMs }).lease
  }

  keepAlive(lease: number): void {
    this.run(KEEP_ALIVE, { lease })
  }

  revoke(lease: number): void {
    this.run(REVOKE, { lease })
  }

  acquire(name: string, lease: number, isWaiting = true): AcquireResult {
    const owner = utf8(`lease ${lease}`)
    return this.run(ACQUIRE, { name: utf8(name), lease, isWaiting, owner })
  }

  release(name: string, token: number): void {
    this.run(RELEASE, { name: utf8(name), token })
  }

  cancel(name: string, ticket: number): CancelResult['was'] {
    return this.run(CANCEL, { name: utf8(name), ticket }).was
  }

  register(): number {
    return this.run(REGISTER, undefined).client
  }

  configure(settings: Partial<Settings>): void {
    this.run(CONFIGURE, { ...SETTINGS_DEFAULTS, ...settings })
  }

  /** Lets the leader's time pass, with an entry that says so. */
  pass(durationMs: number): Applied {
    this.nowMs += durationMs
    return this.applyRequest(request(TICK, undefined))
  }

  check(): void {
    checkStateInvariants(this.state)
  }
}

export function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}

/** @returns the code with which `act` was refused; undefined when it wasn't. */
export function codeOf(act: () => unknown): string | undefined {
  try {
    act()
    return undefined
  } catch (error) {
    if (isMeshError(error)) return error.code
    throw error
  }
}
