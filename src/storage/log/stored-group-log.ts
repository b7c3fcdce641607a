// A group's log as its replica reads it.

import type { MeshError } from '../../base/errors.ts'
import { EMPTY_CONFIG_STATE, EMPTY_HARD_STATE } from '../../core/raft/messages.ts'
import type { ConfigState, Entry, HardState, Snapshot } from '../../core/raft/messages.ts'
import type { GroupLog } from '../log-store.ts'
import type { EntryReader } from './entry-reader.ts'
import type { GroupState } from './group-state.ts'

export type StoredGroupLogComponents = {
  /** The group's state; undefined while nothing was written for it. */
  stateOf(id: number): GroupState | undefined
  /** Undefined before the store is open. */
  reader(): EntryReader | undefined
}

export class StoredGroupLog implements GroupLog {
  readonly id: number
  readonly #components: StoredGroupLogComponents
  #snapshotSource: () => Snapshot | undefined = () => undefined

  constructor(id: number, components: StoredGroupLogComponents) {
    this.id = id
    this.#components = components
  }

  initialState(): { hardState: HardState; configState: ConfigState } {
    const state = this.#state
    return {
      hardState: state?.hardState ?? EMPTY_HARD_STATE,
      configState: state?.configState ?? EMPTY_CONFIG_STATE
    }
  }

  firstIndex(): number {
    return (this.#state?.start.index ?? 0) + 1
  }

  lastIndex(): number {
    return this.#state?.lastIndex ?? 0
  }

  term(index: number): number | undefined {
    const state = this.#state
    if (state === undefined) return index === 0 ? 0 : undefined
    return state.term(index)
  }

  entries(low: number, high: number, bytesMax: number): readonly Entry[] | undefined {
    const state = this.#state
    const reader = this.#components.reader()
    if (state === undefined || reader === undefined) return undefined
    if (low <= state.start.index || low > state.lastIndex) return undefined
    return reader.read(state, { low, high, bytesMax })
  }

  snapshot(): Snapshot | undefined {
    const damage = this.damage()
    if (damage !== undefined) throw damage
    return this.#snapshotSource()
  }

  isRemoved(): boolean {
    return this.#components.stateOf(this.id)?.isRemoved ?? false
  }

  damage(): MeshError | undefined {
    return this.#components.stateOf(this.id)?.damage
  }

  meta(): Uint8Array | undefined {
    return this.#state?.meta
  }

  setSnapshotSource(source: () => Snapshot | undefined): void {
    this.#snapshotSource = source
  }

  /** @throws corrupt */
  get #state(): GroupState | undefined {
    const state = this.#components.stateOf(this.id)
    if (state?.damage !== undefined) throw state.damage
    return state
  }
}
