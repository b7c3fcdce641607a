// WebAssembly modules, byte by byte: a section is its id, its length and what is in it.

const I32 = 0x7f
const I64 = 0x7e
const END = 0x0b
const PREAMBLE = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]

type Bytes = readonly number[]

export type WasmOptions = {
  /** Pages of its memory at the start. */
  readonly minimum?: number
  readonly maximum?: number | undefined
  /** Imports its memory as env.memory instead of having one. */
  readonly isImported?: boolean
  /** Imports what there isn't. */
  readonly importsClock?: boolean
  /** What `run(pointer, length)` does. Ends with the i64 that it returns. */
  readonly run: Bytes
}

function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(Math.floor(value / 0x80))]
}

const sized = (body: Bytes): number[] => [...leb(body.length), ...body]
const section = (id: number, items: readonly Bytes[]): number[] => [
  id,
  ...sized([...leb(items.length), ...items.flat()])
]
const name = (text: string): number[] => sized([...Buffer.from(text)])

/** @returns a module with `memory`, an `alloc` that gives the place 1024, and `run` */
export function wasmModule(options: WasmOptions): Uint8Array {
  const { minimum = 1, maximum, isImported = false, importsClock = false, run } = options
  const limits =
    maximum === undefined ? [0, ...leb(minimum)] : [1, ...leb(minimum), ...leb(maximum)]
  const log = [...name('env'), ...name(importsClock ? 'clock' : 'log'), 0, 0]
  const memory = [...name('env'), ...name('memory'), 2, ...limits]
  const alloc = sized([0, 0x41, ...leb(0x400 | 0), END].map(Number))
  return Uint8Array.from([
    ...PREAMBLE,
    ...section(1, [
      [0x60, 2, I32, I32, 0],
      [0x60, 1, I32, 1, I32],
      [0x60, 2, I32, I32, 1, I64]
    ]),
    ...section(2, isImported ? [log, memory] : [log]),
    ...section(3, [[1], [2]]),
    ...(isImported ? [] : section(5, [limits])),
    ...section(7, [
      [...name('memory'), 2, 0],
      [...name('alloc'), 0, 1],
      [...name('run'), 0, 2]
    ]),
    ...section(10, [alloc, sized([0, ...run, END])])
  ])
}

const GET_POINTER = [0x20, 0]
const GET_LENGTH = [0x20, 1]
/** Pointer in the upper half, length in the lower. */
const PACKED = [...GET_POINTER, 0xad, 0x42, 32, 0x86, ...GET_LENGTH, 0xad, 0x84]

/** Logs its input and returns it. */
export const ECHO: Bytes = [...GET_POINTER, ...GET_LENGTH, 0x10, 0, ...PACKED]
/** Never ends. */
export const LOOP: Bytes = [0x03, 0x40, 0x0c, 0, END, ...PACKED]
/** Grows by so many pages until it may not. */
const growBy = (pages: number): number[] => [
  0x03,
  0x40,
  0x41,
  pages,
  0x40,
  0,
  0x41,
  0x7f,
  0x47,
  0x0d,
  0,
  END
]
/** Grows until it may not, and then traps. */
export const GROW: Bytes = [...growBy(16), 0x00, ...PACKED]
/** Grows until it may not, and returns its input. */
export const GROW_AND_RETURN: Bytes = [...growBy(1), ...PACKED]
/** Traps. */
export const TRAP: Bytes = [0x00, ...PACKED]
/** Names bytes that it doesn't have. */
export const OUTSIDE: Bytes = [0x42, 0x7f]
