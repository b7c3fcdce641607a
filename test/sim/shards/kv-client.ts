// Reads, writes, deletes and compares a few keys. Each value is written once in a run, so that a
// read tells which write it saw.

import { fromUtf8, utf8 } from '../../../src/base/bytes.ts'
import { TXN } from '../../../src/core/machine/kv.ts'
import type { Compare, Part, TxnResult } from '../../../src/core/machine/kv.ts'
import { GET } from '../../../src/core/machine/own-queries.ts'
import type { Entry } from '../../../src/core/machine/records.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import type { Answered } from '../../../src/shard/shards.ts'
import type { Recorder } from '../checkers/history.ts'
import type { RegisterInput, RegisterOutput } from '../checkers/register-model.ts'
import { Asker } from './client.ts'
import type { ClientParts } from './client.ts'
import type { KeyPool } from './key-pool.ts'

export class KvClient {
  readonly #parts: ClientParts
  readonly #asker: Asker
  readonly #keys: KeyPool
  /** What this client knew last of each key. */
  readonly #seen = new Map<string, { readonly value: string | null; readonly version: number }>()
  #writes = 0

  constructor(parts: ClientParts, recorder: Recorder, keys: KeyPool) {
    this.#parts = parts
    this.#asker = new Asker(`kv${parts.number}`, recorder)
    this.#keys = keys
  }

  /** Does one operation. */
  async next(): Promise<void> {
    const key = this.#keys.take(this.#parts.random)
    const input = this.#inputFor(key)
    const isRead = input.kind === 'read'
    const output = await this.#asker.record({ key, input, isRead }, () => this.#ask(key, input))
    if (output === undefined && !isRead) this.#keys.noteUnknown(key)
    this.#learn(key, input, output)
  }

  #inputFor(key: string): RegisterInput {
    const { random, number } = this.#parts
    const seen = this.#seen.get(key)
    const choice = random.below(20)
    if (choice < 8) return { kind: 'read' }
    if (choice === 8) return { kind: 'delete' }
    const value = `${number}-${(this.#writes += 1)}`
    if (choice < 13 || seen === undefined) return { kind: 'write', value }
    if (choice < 17) return { kind: 'cas', expected: seen.value, value }
    return { kind: 'cas-version', expected: seen.version, value }
  }

  #learn(key: string, input: RegisterInput, output: RegisterOutput | undefined): void {
    if (output === undefined || output.isDone === false) return
    const { version = 0 } = output
    if (input.kind === 'read') this.#seen.set(key, { value: output.value ?? null, version })
    else if (input.kind === 'delete') this.#seen.set(key, { value: null, version: 0 })
    else this.#seen.set(key, { value: input.value, version })
  }

  async #ask(key: string, input: RegisterInput): Promise<RegisterOutput> {
    const name = utf8(key)
    switch (input.kind) {
      case 'read':
        return await this.#read(key)
      case 'write': {
        const { revision } = await this.#transact(key, [], [put(name, input.value)])
        return { version: revision }
      }
      case 'delete': {
        const { revision, result } = await this.#transact(key, [], [{ kind: 'delete', key: name }])
        const [deleted] = result.results
        const isDone = deleted?.kind === 'deleted' && deleted.count === 1
        return isDone ? { isDone, version: revision } : { isDone }
      }
      case 'cas':
      case 'cas-version': {
        const compares = [compareOf(name, input)]
        const { revision, result } = await this.#transact(key, compares, [put(name, input.value)])
        const isDone = result.succeeded
        return isDone ? { isDone, version: revision } : { isDone }
      }
    }
  }

  /** As a query, or now and then as a transaction, which goes through the log. */
  async #read(key: string): Promise<RegisterOutput> {
    const { random, shards, options } = this.#parts
    const name = utf8(key)
    let entry: Entry | undefined
    if (random.below(4) === 0) {
      const { result } = await this.#transact(key, [], [{ kind: 'get', key: name }])
      const [found] = result.results
      entry = found?.kind === 'entry' ? found.entry : undefined
    } else {
      const asked = { area: AREAS.kv, key: name, revision: undefined }
      const { timeoutMs } = options
      entry = (await shards().query({ space: spaceOf(key) }, GET, asked, { timeoutMs })).result
        .entry
    }
    if (entry === undefined) return { value: null }
    return { value: fromUtf8(entry.value), version: entry.modRevision }
  }

  async #transact(
    key: string,
    compares: readonly Compare[],
    success: readonly Part[]
  ): Promise<Answered<TxnResult>> {
    const { shards, options } = this.#parts
    const { timeoutMs } = options
    const txn = { compares, success, failure: [] }
    return await shards().execute({ space: spaceOf(key) }, TXN, txn, { timeoutMs })
  }
}

const spaceOf = (key: string): Uint8Array => utf8(key.slice(0, key.indexOf('/')))

const put = (key: Uint8Array, value: string): Part => ({
  kind: 'put',
  key,
  value: utf8(value),
  lease: 0
})

function compareOf(
  key: Uint8Array,
  { expected }: Extract<RegisterInput, { kind: 'cas' | 'cas-version' }>
): Compare {
  if (expected === null) return { kind: 'exists', key, exists: false }
  if (typeof expected === 'string') {
    return { kind: 'value', key, relation: '=', value: utf8(expected) }
  }
  return { kind: 'number', key, field: 'modRevision', relation: '=', number: expected }
}
