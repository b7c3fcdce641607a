// A whole file in memory, for those that know that it is small.

import { concatBytes } from '../../base/bytes.ts'

/** @throws what the source throws */
export async function readAll(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of source) parts.push(part)
  return parts.length === 1 ? (parts[0] as Uint8Array) : concatBytes(parts)
}
