// The inputs of a part of a job as one file, of which a worker reads what it was granted:
// protocols/job, Manifest.

import { equalBytes, utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { GIB, MIB } from '../../base/units.ts'
import { JOB_TASKS_MAX } from '../../core/machine/limits.ts'

/** An input; more than that is a file, which the task reads by itself. */
export const MANIFEST_INPUT_BYTES_MAX: number = MIB
const MANIFEST_BYTES_MAX: number = GIB

const MAGIC: Uint8Array = utf8('ATOLLJM')
const FORMAT = 1
/** Magic, format, count, length of the file. */
const HEAD_BYTES = 16
const LENGTH_BYTES = 4
const HEADER_BYTES_MAX: number = HEAD_BYTES + LENGTH_BYTES * JOB_TASKS_MAX

export type ManifestHeader = {
  /** Tasks. */
  readonly count: number
  /** Of the whole file. */
  readonly bytes: number
  /** Where each input begins, and at last where the file ends. */
  readonly offsets: readonly number[]
}

/** @param inputs 1 to 4096, of task 0 and so on @throws invalid-argument, too-large */
export function encodeManifest(inputs: readonly Uint8Array[]): Uint8Array {
  const count = inputs.length
  if (count === 0 || count > JOB_TASKS_MAX) {
    const problem = `A manifest has the inputs of ${count} tasks; 1 to ${JOB_TASKS_MAX} can be`
    throw new MeshError('invalid-argument', problem)
  }
  let offset = HEAD_BYTES + LENGTH_BYTES * count
  const length = inputs.reduce((sum, input) => sum + input.length, offset)
  checkLength(length, MANIFEST_BYTES_MAX, 'A manifest')
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  bytes.set(MAGIC)
  view.setUint8(MAGIC.length, FORMAT)
  view.setUint32(8, count)
  view.setUint32(12, length)
  for (const [task, input] of inputs.entries()) {
    checkLength(input.length, MANIFEST_INPUT_BYTES_MAX, `The input of task ${task}`)
    view.setUint32(HEAD_BYTES + LENGTH_BYTES * task, input.length)
    bytes.set(input, offset)
    offset += input.length
  }
  return bytes
}

function checkLength(length: number, bytesMax: number, what: string): void {
  if (length <= bytesMax) return
  const advice = `at most ${bytesMax} can be; put large inputs into files and pass their names`
  throw new MeshError('too-large', `${what} has ${length} bytes: ${advice}`)
}

/** @param bytes of a manifest, from its beginning to the end of its header or more @throws invalid-data */
export function readManifestHeader(bytes: Uint8Array): ManifestHeader {
  if (bytes.length < HEAD_BYTES) throw malformed('it is cut off')
  if (!equalBytes(bytes.subarray(0, MAGIC.length), MAGIC)) throw malformed('it is none')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const format = view.getUint8(MAGIC.length)
  if (format !== FORMAT) throw malformed(`its format is ${format}; ${FORMAT} is known here`)
  const count = view.getUint32(8)
  if (count === 0 || count > JOB_TASKS_MAX) {
    throw malformed(`it has ${count} tasks; 1 to ${JOB_TASKS_MAX} can be`)
  }
  let offset = HEAD_BYTES + LENGTH_BYTES * count
  if (bytes.length < offset) throw malformed('it is cut off')
  const offsets = [offset]
  for (let task = 0; task < count; task++) {
    const length = view.getUint32(HEAD_BYTES + LENGTH_BYTES * task)
    if (length > MANIFEST_INPUT_BYTES_MAX) {
      throw malformed(`task ${task} has an input of ${length} bytes`)
    }
    offset += length
    offsets.push(offset)
  }
  const length = view.getUint32(12)
  if (length !== offset || length > MANIFEST_BYTES_MAX) {
    throw malformed(`it says that it has ${length} bytes, and has ${offset}`)
  }
  return { count, bytes: length, offsets }
}

export type ByteRange = { offset: number; length: number }

/** What was read first, which is kept: small manifests are read by it as a whole. */
type Beginning = { readonly header: ManifestHeader; readonly bytes: Uint8Array }

/** Reads inputs of one manifest; its beginning is read once, by whoever comes first. */
export class ManifestReader {
  readonly #read: (range: ByteRange) => Promise<Uint8Array>
  #beginning: Promise<Beginning> | undefined

  /** @param read the bytes of a range; fewer where the file ends, none beyond */
  constructor(read: (range: ByteRange) => Promise<Uint8Array>) {
    this.#read = read
  }

  /** @throws invalid-data, and what `read` throws */
  async header(): Promise<ManifestHeader> {
    return (await this.#begin()).header
  }

  /**
   * The inputs of the tasks in [from, to), each a copy of its own. They are read at once: ask for
   * no more than should be in memory.
   *
   * @throws invalid-argument, invalid-data (also when there is no such task), and what `read` throws
   */
  async inputs(from: number, to: number): Promise<Uint8Array[]> {
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to < from) {
      throw new MeshError('invalid-argument', `Cannot read the inputs of tasks ${from} to ${to}`)
    }
    const { header, bytes: known } = await this.#begin()
    const { count, offsets } = header
    if (to > count) throw malformed(`it has ${count} tasks, and none with number ${to - 1}`)
    const [start, end] = [offsets[from] as number, offsets[to] as number]
    const bytes = end <= known.length ? known.subarray(start, end) : await this.#range(start, end)
    return Array.from({ length: to - from }, (_, index) => {
      const offset = (offsets[from + index] as number) - start
      return bytes.slice(offset, (offsets[from + index + 1] as number) - start)
    })
  }

  async #range(start: number, end: number): Promise<Uint8Array> {
    if (start === end) return new Uint8Array(0)
    const bytes = await this.#read({ offset: start, length: end - start })
    if (bytes.length !== end - start) throw malformed('it is cut off')
    return bytes
  }

  async #begin(): Promise<Beginning> {
    const reading = (this.#beginning ??= this.#readBeginning())
    try {
      return await reading
    } catch (error) {
      // Whoever comes next tries again.
      if (this.#beginning === reading) this.#beginning = undefined
      throw error
    }
  }

  async #readBeginning(): Promise<Beginning> {
    const bytes = await this.#read({ offset: 0, length: HEADER_BYTES_MAX })
    return { header: readManifestHeader(bytes), bytes: bytes.slice(0, HEADER_BYTES_MAX) }
  }
}

function malformed(why: string): MeshError {
  return new MeshError('invalid-data', `Malformed manifest of a job: ${why}`)
}
