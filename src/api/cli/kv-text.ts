// Keys and values as the CLI prints them: text where they are text, base64 otherwise.

import { fromUtf8 } from '../../base/bytes.ts'
import type { KvEntry } from '../../services/kv/entry.ts'
import type { WatchEvent } from '../../services/kv/watch.ts'

type KeyJson = { key: string; keyBase64?: true }
type ValueJson = { value: string; valueBase64?: true }
export type EntryJson = KeyJson & ValueJson & { revision: number }

/** @returns the text; undefined when the bytes aren't UTF-8, or don't come back from it. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = fromUtf8(bytes)
    // A mark of byte order is dropped by the decoder.
    return Buffer.byteLength(text) === bytes.length ? text : undefined
  } catch {
    return undefined
  }
}

export function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

/** `keyBase64` is there, and true, when the key isn't UTF-8. */
export function keyJson(bytes: Uint8Array): KeyJson {
  const key = textOf(bytes)
  return key === undefined ? { key: base64Of(bytes), keyBase64: true } : { key }
}

export function valueJson(bytes: Uint8Array): ValueJson {
  const value = textOf(bytes)
  return value === undefined ? { value: base64Of(bytes), valueBase64: true } : { value }
}

export function entryJson({ keyBytes, value, revision }: KvEntry): EntryJson {
  return { ...keyJson(keyBytes), ...valueJson(value), revision }
}

export function eventJson(event: WatchEvent): object {
  const { type, keyBytes, revision } = event
  const value = event.type === 'put' ? valueJson(event.entry.value) : {}
  const { previous } = event
  const before = previous === undefined ? {} : { previous: entryJson(previous) }
  return { type, ...keyJson(keyBytes), ...value, revision, ...before }
}

/** @returns one line: a text with control characters is quoted as in JSON. */
export function oneLine(bytes: Uint8Array): string {
  const text = textOf(bytes)
  if (text === undefined) return `base64:${base64Of(bytes)}`
  return /[\p{Cc}\u2028\u2029]/u.test(text) ? JSON.stringify(text) : text
}
