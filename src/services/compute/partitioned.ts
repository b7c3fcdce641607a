// What a map task hands over: a part for each reduce task, of which each reads its own. The parts stand
// one after the other, then the length of each as four bytes, little-endian.

/** Bytes of one length. */
const LENGTH_BYTES = 4

/** @returns the parts as one array, which `readPartition` takes apart */
export function joinPartitions(parts: readonly Uint8Array[]): Uint8Array {
  const end = parts.reduce((sum, { length }) => sum + length, 0)
  const joined = new Uint8Array(end + LENGTH_BYTES * parts.length)
  const view = new DataView(joined.buffer)
  let at = 0
  for (const [index, part] of parts.entries()) {
    joined.set(part, at)
    at += part.length
    view.setUint32(end + LENGTH_BYTES * index, part.length, true)
  }
  return joined
}

/**
 * Reads one part. What stands before the parts doesn't matter, such as the head of a structured clone,
 * which ends with the bytes that it is of.
 *
 * @param source.bytes how many there are
 * @returns nothing where the part is empty @throws what reading throws
 */
export async function readPartition(
  source: {
    readonly bytes: number
    readonly read: (range: { offset: number; length: number }) => Promise<Uint8Array>
  },
  { partition, partitions }: { partition: number; partitions: number }
): Promise<Uint8Array | undefined> {
  const count = partitions - partition
  // Those of this part and of all behind it.
  const lengthsAt = source.bytes - LENGTH_BYTES * count
  const lengths = await source.read({ offset: lengthsAt, length: LENGTH_BYTES * count })
  const view = new DataView(lengths.buffer, lengths.byteOffset, lengths.byteLength)
  let behind = 0
  for (let index = 1; index < count; index++) behind += view.getUint32(LENGTH_BYTES * index, true)
  const length = view.getUint32(0, true)
  if (length === 0) return undefined
  const end = source.bytes - LENGTH_BYTES * partitions
  return await source.read({ offset: end - behind - length, length })
}
