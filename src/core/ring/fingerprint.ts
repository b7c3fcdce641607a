// A 128-bit fingerprint of bytes in 32-bit integer arithmetic only: MurmurHash3_x86_128 with seed 0
// (Austin Appleby, public domain). The same on every platform; no defence against a forger.

const C1 = 0x239b961b
const C2 = 0xab0e9789
const C3 = 0x38b34ae5
const C4 = 0xa1e38b93

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

function finish(value: number): number {
  let mixed = value
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}

function word(bytes: Uint8Array, offset: number): number {
  // Past the end, bytes count as zero: that is what the published tail step does.
  return (
    (bytes[offset] ?? 0) |
    ((bytes[offset + 1] ?? 0) << 8) |
    ((bytes[offset + 2] ?? 0) << 16) |
    ((bytes[offset + 3] ?? 0) << 24)
  )
}

/** @returns 32 lower-case hexadecimal digits: the four words of the hash, most significant digit first. */
export function fingerprint(bytes: Uint8Array): string {
  let h1 = 0
  let h2 = 0
  let h3 = 0
  let h4 = 0
  const whole = bytes.length - (bytes.length % 16)
  for (let offset = 0; offset < bytes.length; offset += 16) {
    // A last block of fewer than 16 bytes is mixed in, but not stirred.
    const stirred = offset < whole
    h1 ^= Math.imul(rotate(Math.imul(word(bytes, offset), C1), 15), C2)
    if (stirred) h1 = (Math.imul(rotate(h1, 19) + h2, 5) + 0x561ccd1b) | 0
    h2 ^= Math.imul(rotate(Math.imul(word(bytes, offset + 4), C2), 16), C3)
    if (stirred) h2 = (Math.imul(rotate(h2, 17) + h3, 5) + 0x0bcaa747) | 0
    h3 ^= Math.imul(rotate(Math.imul(word(bytes, offset + 8), C3), 17), C4)
    if (stirred) h3 = (Math.imul(rotate(h3, 15) + h4, 5) + 0x96cd1c35) | 0
    h4 ^= Math.imul(rotate(Math.imul(word(bytes, offset + 12), C4), 18), C1)
    if (stirred) h4 = (Math.imul(rotate(h4, 13) + h1, 5) + 0x32ac3b17) | 0
  }
  h1 ^= bytes.length
  h2 ^= bytes.length
  h3 ^= bytes.length
  h4 ^= bytes.length
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = (h2 + h1) | 0
  h3 = (h3 + h1) | 0
  h4 = (h4 + h1) | 0
  h1 = finish(h1)
  h2 = finish(h2)
  h3 = finish(h3)
  h4 = finish(h4)
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = (h2 + h1) | 0
  h3 = (h3 + h1) | 0
  h4 = (h4 + h1) | 0
  return [h1, h2, h3, h4].map((part) => (part >>> 0).toString(16).padStart(8, '0')).join('')
}
