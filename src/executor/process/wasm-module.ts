// The memory of a WebAssembly module, read from and written into its bytes: with the limit as the
// declared maximum the engine itself refuses to grow over it.

import { MeshError } from '../../base/errors.ts'

export const WASM_PAGE_BYTES = 65_536

const MAGIC = 0x6d736100
const VERSION = 1
const PREAMBLE_BYTES = 8
const IMPORT_SECTION = 2
const MEMORY_SECTION = 5
const MEMORY_KIND = 2
const HAS_MAXIMUM = 1

export type CappedModule = {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Of a memory that is imported: what to give. */
  readonly imported: PageLimits | undefined
}

export type PageLimits = { readonly minimum: number; readonly maximum: number }

/**
 * @param pagesMax of the module's memory
 * @returns the module with that as the most that its memory may grow to
 * @throws invalid-code; task-memory when it declares more from the start
 */
export function cappedModule(source: Uint8Array, pagesMax: number): CappedModule {
  const reader = new Reader(source)
  if (source.length < PREAMBLE_BYTES || reader.word() !== MAGIC || reader.word() !== VERSION) {
    throw invalid('it is no module of version 1')
  }
  const parts: Uint8Array[] = [source.subarray(0, PREAMBLE_BYTES)]
  let imported: PageLimits | undefined
  while (!reader.isAtEnd) {
    const start = reader.position
    const id = reader.byte()
    const end = reader.number() + reader.position
    if (end > source.length) throw invalid('a section is longer than the module')
    if (id === MEMORY_SECTION) {
      parts.push(memorySection(reader, pagesMax))
    } else {
      if (id === IMPORT_SECTION) imported = importedMemory(reader, pagesMax)
      parts.push(source.subarray(start, end))
    }
    reader.position = end
  }
  return { bytes: Uint8Array.from(Buffer.concat(parts)), imported }
}

/** @returns the section anew, with the limit as its maximum */
function memorySection(reader: Reader, pagesMax: number): Uint8Array {
  const count = reader.number()
  if (count > 1) throw invalid('it has more than one memory')
  if (count === 0) return Uint8Array.of(MEMORY_SECTION, 1, 0)
  const { minimum, maximum } = cappedLimits(reader, pagesMax)
  const body = [1, HAS_MAXIMUM, ...numberBytes(minimum), ...numberBytes(maximum)]
  return Uint8Array.of(MEMORY_SECTION, ...numberBytes(body.length), ...body)
}

/** @returns the memory to give; undefined when none is imported */
function importedMemory(reader: Reader, pagesMax: number): PageLimits | undefined {
  let limits: PageLimits | undefined
  for (let left = reader.number(); left > 0; left--) {
    reader.skip(reader.number())
    reader.skip(reader.number())
    const kind = reader.byte()
    if (kind === MEMORY_KIND) {
      if (limits !== undefined) throw invalid('it has more than one memory')
      limits = cappedLimits(reader, pagesMax)
    } else if (kind === 0) {
      reader.number()
    } else {
      throw invalid('it imports what is neither a function nor a memory')
    }
  }
  return limits
}

function cappedLimits(reader: Reader, pagesMax: number): PageLimits {
  const flags = reader.byte()
  if (flags > HAS_MAXIMUM) throw invalid('its memory is shared, or of 64 bits')
  const minimum = reader.number()
  const maximum = flags === HAS_MAXIMUM ? reader.number() : pagesMax
  if (minimum <= pagesMax) return { minimum, maximum: Math.min(maximum, pagesMax) }
  const sizes = `${minimum} pages of memory from the start, and it may have ${pagesMax}`
  throw new MeshError('task-memory', `The module wants ${sizes}`)
}

class Reader {
  readonly #bytes: Uint8Array
  position = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.position >= this.#bytes.length
  }

  byte(): number {
    const value = this.#bytes[this.position++]
    if (value === undefined) throw invalid('it is cut off')
    return value
  }

  /** Four bytes, the lowest first. */
  word(): number {
    return this.byte() | (this.byte() << 8) | (this.byte() << 16) | (this.byte() << 24)
  }

  /** A number without a sign, up to 32 bits, in LEB128. */
  number(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) {
        if (value > 0xffff_ffff) break
        return value
      }
    }
    throw invalid('a number in it is too long')
  }

  skip(count: number): void {
    this.position += count
  }
}

function numberBytes(value: number): number[] {
  const bytes: number[] = []
  let rest = value
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  return [...bytes, rest]
}

function invalid(why: string): MeshError {
  return new MeshError('invalid-code', `The module can't be used: ${why}`)
}
