// Which shard a space belongs to: fixed for the life of a mesh, the same on every node.

/**
 * FNV-1a (Fowler, Noll, Vo) over the bytes, then the finalizer of MurmurHash3 (Appleby), so that
 * names that differ in a digit are spread.
 *
 * @param count shards of the mesh, from 1
 * @returns 0 to `count - 1`
 */
export function shardOf(space: Uint8Array, count: number): number {
  let hash = 0x811c9dc5
  for (const byte of space) hash = Math.imul(hash ^ byte, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) % count
}
