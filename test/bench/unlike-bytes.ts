// What the benches store: bytes that were never stored before, at no cost.

const MIB = 1_048_576
const PATTERN = new Uint8Array(8 * MIB)
for (let offset = 0, state = 1; offset < PATTERN.length; offset++) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  PATTERN[offset] = state >>> 24
}

/** Bytes that no two seeds share, one MiB at a time, without the cost of drawing them. */
export function* unlikeBytes(bytes: number, seed: number): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes; offset += MIB) {
    const start = offset % PATTERN.length
    const part = PATTERN.slice(start, start + Math.min(MIB, bytes - offset))
    new DataView(part.buffer).setUint32(0, seed)
    new DataView(part.buffer).setUint32(4, offset / MIB)
    yield part
  }
}
