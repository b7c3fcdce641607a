// Where what belongs to a topology is kept: keys of one space, so that one transaction can write a
// state only while its instance is still the newest.

import { MeshError } from '../../base/errors.ts'
import type { Kv } from '../kv/kv.ts'
import { op } from '../kv/txn.ts'

const PAGE_COUNT = 1_000

/** All keys of a topology begin with this. */
export function prefixOf(name: string): string {
  return `.topology-${name}/`
}

export function jobIdOf(name: string): string {
  return `topology-${name}`
}

/** What operators do while they run: these are watched. */
export function controlPrefix(name: string): string {
  return `${prefixOf(name)}control/`
}

export function instanceKey(name: string, index: number): string {
  return `${controlPrefix(name)}${index}`
}

export function stopKey(name: string): string {
  return `${controlPrefix(name)}stop`
}

export function planKey(name: string): string {
  return `${prefixOf(name)}plan`
}

export function positionKey(name: string, index: number): string {
  return `${prefixOf(name)}position/${index}`
}

export function figuresKey(name: string, index: number): string {
  return `${prefixOf(name)}figures/${index}`
}

/** Keys of an operator's state: a page of it each. */
export function statePrefix(name: string, operator: string): string {
  return `${prefixOf(name)}state/${operator}/`
}

/** Written by each attempt of an instance when it begins. */
export type InstanceRecord = {
  readonly peer: string
  readonly attempt: number
  /** A spout of which everything is processed. */
  readonly isDone?: true
}

export type StopRecord = {
  /** Spouts wait for so long until all is processed. */
  readonly drainMs: number
}

/** @throws invalid-data */
export function parsed(text: string, key: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new MeshError('invalid-data', `What is kept at "${key}" is no JSON`, { cause: error })
  }
}

export async function deleteAll(
  kv: Kv,
  prefix: string,
  options: { signal?: AbortSignal | undefined } = {}
): Promise<void> {
  for (;;) {
    const parts = [op.deleteRange({ prefix }, { limit: PAGE_COUNT })] as const
    const { results } = await kv.txn([], parts, [], options)
    const [result] = results as unknown as [{ next: Uint8Array | undefined }]
    if (result.next === undefined) return
  }
}
