// Manifests of jobs: what was put in comes out, by the ranges that are needed, and whatever else is in
// the file is noticed as far as its structure tells it (J-12).

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, toHex, utf8 } from '../../../src/base/bytes.ts'
import { isMeshError, MeshError } from '../../../src/base/errors.ts'
import { JOB_TASKS_MAX } from '../../../src/core/machine/limits.ts'
import {
  encodeManifest,
  MANIFEST_INPUT_BYTES_MAX,
  ManifestReader,
  readManifestHeader
} from '../../../src/services/compute/manifest.ts'
import type { ByteRange } from '../../../src/services/compute/manifest.ts'
import { codeOf } from '../../wire/codecs.ts'

const HEAD_BYTES = 16

/** A file, and what was read of it. */
function fileOf(bytes: Uint8Array): { reader: ManifestReader; reads: ByteRange[] } {
  const reads: ByteRange[] = []
  const reader = new ManifestReader((range) => {
    reads.push(range)
    return Promise.resolve(bytes.slice(range.offset, range.offset + range.length))
  })
  return { reader, reads }
}

async function rejection(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'none'
  } catch (error) {
    if (isMeshError(error)) return error.code
    throw error
  }
}

const inputsArb = fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 1, maxLength: 12 })
const hex = (inputs: readonly Uint8Array[]): string[] => inputs.map((input) => toHex(input))

describe('a manifest', () => {
  it('gives back the inputs of every range of tasks', async () => {
    await fc.assert(
      fc.asyncProperty(inputsArb, fc.nat(), fc.nat(), async (inputs, one, other) => {
        const { reader } = fileOf(encodeManifest(inputs))
        const [from, to] = [one % (inputs.length + 1), other % (inputs.length + 1)].toSorted(
          (a, b) => a - b
        ) as [number, number]
        expect(hex(await reader.inputs(from, to))).toEqual(hex(inputs.slice(from, to)))
        expect((await reader.header()).count).toBe(inputs.length)
      })
    )
  })

  it('takes 1 to 4096 inputs up to a length', async () => {
    const most = Array.from({ length: JOB_TASKS_MAX }, (_, task) => utf8(String(task)))
    const { reader } = fileOf(encodeManifest(most))
    expect(hex(await reader.inputs(4_000, 4_096))).toEqual(hex(most.slice(4_000)))
    expect(codeOf(() => encodeManifest([]))).toBe('invalid-argument')
    expect(codeOf(() => encodeManifest([...most, utf8('')]))).toBe('invalid-argument')
    const longest = new Uint8Array(MANIFEST_INPUT_BYTES_MAX)
    expect(codeOf(() => encodeManifest([longest]))).toBe('none')
    expect(codeOf(() => encodeManifest([concatBytes([longest, utf8('x')])]))).toBe('too-large')
    const huge = Array.from({ length: 1_024 }, () => longest)
    expect(codeOf(() => encodeManifest(huge))).toBe('too-large')
  })
})

describe('reading', () => {
  it('fetches the beginning once, and then what is asked for', async () => {
    const inputs = Array.from({ length: 100 }, (_, task) => new Uint8Array(1_000).fill(task))
    const { reader, reads } = fileOf(encodeManifest(inputs))
    const start = HEAD_BYTES + 4 * 100
    const both = await Promise.all([reader.inputs(50, 52), reader.inputs(99, 100)])
    expect(both.map(hex)).toEqual([hex(inputs.slice(50, 52)), hex(inputs.slice(99))])
    expect(reads).toEqual([
      { offset: 0, length: HEAD_BYTES + 4 * JOB_TASKS_MAX },
      { offset: start + 50_000, length: 2_000 },
      { offset: start + 99_000, length: 1_000 }
    ])
  })

  it('fetches nothing more when the beginning has it', async () => {
    const inputs = [utf8('a'), utf8(''), utf8('ccc')]
    const { reader, reads } = fileOf(encodeManifest(inputs))
    expect(hex(await reader.inputs(0, 3))).toEqual(hex(inputs))
    expect(hex(await reader.inputs(2, 3))).toEqual(hex(inputs.slice(2)))
    expect(await reader.inputs(3, 3)).toEqual([])
    expect(reads).toHaveLength(1)
  })

  it('gives copies: what is done to one changes no other', async () => {
    const { reader } = fileOf(encodeManifest([utf8('one'), utf8('two')]))
    const [first] = await reader.inputs(0, 2)
    first?.fill(0)
    // As when it is handed to a process.
    structuredClone(first, { transfer: [first?.buffer as ArrayBuffer] })
    expect(hex(await reader.inputs(0, 2))).toEqual(hex([utf8('one'), utf8('two')]))
  })

  it('that failed is tried again by the next one', async () => {
    const bytes = encodeManifest([utf8('one')])
    let failures = 1
    const reader = new ManifestReader((range) => {
      if (failures-- > 0) return Promise.reject(new MeshError('no-quorum', 'The blocks are away'))
      return Promise.resolve(bytes.slice(range.offset, range.offset + range.length))
    })
    const both = [reader.inputs(0, 1), reader.inputs(0, 1)].map(rejection)
    expect(await Promise.all(both)).toEqual(['no-quorum', 'no-quorum'])
    expect(hex(await reader.inputs(0, 1))).toEqual(hex([utf8('one')]))
  })

  it('of tasks that make no sense is refused', async () => {
    const { reader } = fileOf(encodeManifest([utf8('one'), utf8('two')]))
    for (const [from, to] of [
      [-1, 1],
      [1, 0],
      [0.5, 1],
      [0, Number.NaN]
    ] as const) {
      expect(await rejection(reader.inputs(from, to))).toBe('invalid-argument')
    }
  })
})

describe('J-12 a malformed manifest', () => {
  it('is noticed whichever bit of its header is changed', async () => {
    await fc.assert(
      fc.asyncProperty(inputsArb, fc.nat(), async (inputs, place) => {
        const bytes = encodeManifest(inputs)
        const bit = place % (8 * (HEAD_BYTES + 4 * inputs.length))
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(await rejection(fileOf(bytes).reader.inputs(0, 1))).toBe('invalid-data')
      }),
      { numRuns: 1_000 }
    )
  })

  it('changed in its inputs gives all others as they were', async () => {
    await fc.assert(
      fc.asyncProperty(inputsArb, fc.nat(), async (inputs, place) => {
        const bytes = encodeManifest(inputs)
        const { offsets } = readManifestHeader(bytes)
        const start = offsets[0] as number
        if (bytes.length === start) return
        const at = start + (place % (bytes.length - start))
        bytes[at] = (bytes[at] as number) ^ 1
        const read = await fileOf(bytes).reader.inputs(0, inputs.length)
        const changed = inputs.flatMap((input, task) =>
          toHex(input) === toHex(read[task] as Uint8Array) ? [] : [task]
        )
        expect(changed).toHaveLength(1)
      })
    )
  })

  it('cut off gives the inputs before the cut, and says so for the others', async () => {
    await fc.assert(
      fc.asyncProperty(inputsArb, fc.nat(), async (inputs, place) => {
        const bytes = encodeManifest(inputs)
        const { offsets } = readManifestHeader(bytes)
        const cut = place % bytes.length
        const { reader } = fileOf(bytes.slice(0, cut))
        for (const [task, input] of inputs.entries()) {
          const isKnown = cut >= (offsets[0] as number)
          const isThere = isKnown && (input.length === 0 || cut >= (offsets[task + 1] as number))
          if (isThere) expect(hex(await reader.inputs(task, task + 1))).toEqual([toHex(input)])
          else expect(await rejection(reader.inputs(task, task + 1))).toBe('invalid-data')
        }
      })
    )
  })

  it('cut off far behind its beginning is noticed too', async () => {
    const inputs = Array.from({ length: 3 }, (_, task) => new Uint8Array(100_000).fill(task))
    const { reader } = fileOf(encodeManifest(inputs).slice(0, 250_000))
    expect(hex(await reader.inputs(0, 2))).toEqual(hex(inputs.slice(0, 2)))
    expect(await rejection(reader.inputs(1, 3))).toBe('invalid-data')
  })

  it('has no task beyond its count', async () => {
    const { reader } = fileOf(encodeManifest([utf8('one'), utf8('two')]))
    expect(await rejection(reader.inputs(0, 3))).toBe('invalid-data')
    expect(await rejection(reader.inputs(3, 3))).toBe('invalid-data')
  })

  it('is never believed about lengths', () => {
    const header = (count: number, length: number, ...lengths: number[]): Uint8Array => {
      const bytes = encodeManifest(lengths.map(() => utf8('')))
      const view = new DataView(bytes.buffer)
      view.setUint32(8, count)
      view.setUint32(12, length)
      for (const [task, value] of lengths.entries()) view.setUint32(16 + 4 * task, value)
      return bytes
    }
    expect(codeOf(() => readManifestHeader(header(1, 20, 0)))).toBe('none')
    const wrong = [
      header(0, 20, 0),
      header(0xffff_ffff, 20, 0),
      header(JOB_TASKS_MAX + 1, 20, 0),
      header(1, 21, 0),
      header(1, 0xffff_ffff, 0xffff_ffff),
      header(1, 20 + MANIFEST_INPUT_BYTES_MAX + 1, MANIFEST_INPUT_BYTES_MAX + 1),
      utf8(''),
      utf8('ATOLLJM')
    ]
    for (const bytes of wrong) expect(codeOf(() => readManifestHeader(bytes))).toBe('invalid-data')
  })
})
