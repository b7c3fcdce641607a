// Which attempt of an instance is the one: the last that wrote its record. What it keeps in the mesh is
// written only while that record is still its own, so an attempt that was taken for lost and goes on
// can spoil nothing.

import { MeshError } from '../../base/errors.ts'
import type { Part } from '../../core/machine/kv.ts'
import type { Kv } from '../kv/kv.ts'
import { compare, op } from '../kv/txn.ts'
import { instanceKey, parsed, type InstanceRecord } from './keys.ts'
import { pause } from './waiting.ts'

const RETRY_MS = 200

export type FenceComponents = { readonly kv: Kv; readonly signal: AbortSignal }

export class Fence {
  readonly #components: FenceComponents
  readonly #key: string
  readonly #record: InstanceRecord
  #revision = 0

  constructor(
    components: FenceComponents,
    about: { topology: string; index: number; record: InstanceRecord }
  ) {
    this.#components = components
    this.#key = instanceKey(about.topology, about.index)
    this.#record = about.record
  }

  /**
   * Makes this attempt the one.
   *
   * @returns false when the instance has done all it had to, before
   * @throws conflict when there is a newer attempt
   */
  async claim(): Promise<boolean> {
    return await this.#persist(async () => {
      const { kv, signal } = this.#components
      const entry = await kv.get(this.#key, { signal })
      const before = entry && (parsed(entry.text(), this.#key) as InstanceRecord)
      if (before?.isDone === true) return false
      const { attempt } = this.#record
      if (before !== undefined && before.attempt > attempt) throw overtaken(this.#key)
      const value = JSON.stringify(this.#record)
      const options = { ifVersion: entry?.version ?? 0, signal }
      this.#revision = (await kv.put(this.#key, value, options)).revision
      return true
    }, ['conflict'])
  }

  /** Writes as long as this attempt is the one. @throws conflict when it isn't any more */
  async write(parts: readonly Part[]): Promise<void> {
    await this.#persist(async () => {
      const { kv, signal } = this.#components
      const conditions = [compare.revision(this.#key, '=', this.#revision)]
      const { succeeded } = await kv.txn(conditions, parts, [], { signal })
      if (!succeeded) throw overtaken(this.#key)
    })
  }

  /** There is nothing more to do for any attempt. */
  async finish(parts: readonly Part[]): Promise<void> {
    const record: InstanceRecord = { ...this.#record, isDone: true }
    await this.write([...parts, op.put(this.#key, JSON.stringify(record))])
  }

  /** The mesh may be without a majority for a while: writes of a state are repeatable. */
  async #persist<Result>(
    work: () => Promise<Result>,
    repeated: readonly string[] = []
  ): Promise<Result> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        const codes = ['no-quorum', 'timeout', 'unreachable', 'overloaded', ...repeated]
        const isOver = this.#components.signal.aborted || error instanceof Overtaken
        // The class of errors of the context is another one in a bundle.
        const { code } = error as { code?: unknown }
        if (isOver || !codes.includes(String(code))) throw error
        await pause(RETRY_MS, this.#components.signal)
      }
    }
  }
}

class Overtaken extends MeshError {}

function overtaken(key: string): MeshError {
  return new Overtaken('conflict', `There is a newer attempt of ${key}: this one ends`)
}
