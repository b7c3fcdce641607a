import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GIB } from '../../../src/base/units.ts'
import {
  RANK_MAX,
  REQUIREMENTS_DEFAULTS,
  lacks,
  rank
} from '../../../src/core/jobs/requirements.ts'
import type { Free, LabelRule, Offer, Requirements } from '../../../src/core/jobs/requirements.ts'

const OFFER: Offer = {
  cpuMilli: 4_000,
  memoryBytes: 8 * GIB,
  gpus: 1,
  labels: new Map([
    ['arch', 'arm64'],
    ['room', 'attic']
  ]),
  allowsExec: false,
  accepts: { submitters: undefined }
}

function codes(asked: Partial<Requirements>, offer: Partial<Offer> = {}, free?: Free): string[] {
  const requirements = { ...REQUIREMENTS_DEFAULTS, ...asked }
  const found = lacks(requirements, { ...OFFER, ...offer }, { submitter: 'ann', free })
  return found.map(({ code }) => code)
}

describe('lacks()', () => {
  it('is nothing when a node has what is needed', () => {
    expect(codes({})).toEqual([])
    const labels: LabelRule[] = [
      { key: 'arch', op: '=', value: 'arm64' },
      { key: 'room', op: '!=', value: 'cellar' },
      { key: 'disk', op: '!=', value: 'slow' },
      { key: 'room', op: 'exists' }
    ]
    expect(codes({ cpuMilli: 4_000, memoryBytes: 8 * GIB, gpu: 1, labels })).toEqual([])
    expect(codes({ isExec: true }, { allowsExec: true })).toEqual([])
    expect(codes({}, { accepts: { submitters: ['bob', 'ann'] } })).toEqual([])
  })

  it('names everything that is missing, for people', () => {
    const labels: LabelRule[] = [
      { key: 'arch', op: '=', value: 'x64' },
      { key: 'disk', op: 'exists' },
      { key: 'room', op: '!=', value: 'attic' }
    ]
    const asked = { cpuMilli: 4_001, memoryBytes: 9 * GIB, gpu: 2, labels, isExec: true }
    const requirements = { ...REQUIREMENTS_DEFAULTS, ...asked }
    const offer = { ...OFFER, accepts: { submitters: ['bob'] } }
    expect(lacks(requirements, offer, { submitter: 'ann', free: undefined })).toEqual([
      { code: 'refused', message: 'it doesn\'t work for "ann"' },
      { code: 'exec', message: 'it runs no commands for others' },
      { code: 'label', message: 'it has arch=arm64; arch=x64 is needed' },
      { code: 'label', message: 'it has no label disk' },
      { code: 'label', message: 'it has room=attic; room!=attic is needed' },
      { code: 'cpu', message: 'it has 4 processors; 4.001 are needed' },
      { code: 'memory', message: 'it has 8.0 GiB; 9.0 GiB is needed' },
      { code: 'gpu', message: 'it has 1 GPUs; 2 are needed' }
    ])
  })

  it('says busy only where the node would do otherwise', () => {
    const free = { cpuMilli: 500, memoryBytes: GIB, gpus: 0 }
    expect(codes({ cpuMilli: 500 }, {}, free)).toEqual([])
    expect(codes({ memoryBytes: 2 * GIB, gpu: 1 }, {}, free)).toEqual(['busy', 'busy', 'busy'])
    expect(codes({ isExec: true }, {}, free)).toEqual(['exec'])
  })

  it('grows with what is asked and shrinks with what is there', () => {
    const amount = fc.nat(4)
    const has = fc.record({ cpuMilli: amount, memoryBytes: amount, gpus: amount })
    const asks = fc.record({ cpuMilli: amount, memoryBytes: amount, gpu: amount })
    fc.assert(
      fc.property(has, has, asks, asks, (has, more, asks, also) => {
        const less = codes(asks, has)
        const harder = { cpuMilli: asks.cpuMilli + also.cpuMilli }
        expect(codes({ ...asks, ...harder }, has)).toEqual(expect.arrayContaining(less))
        const richer = { ...has, gpus: has.gpus + more.gpus }
        expect(less).toEqual(expect.arrayContaining(codes(asks, richer)))
      })
    )
  })
})

describe('rank()', () => {
  it('is higher for what is preferred, and for nodes without a GPU that nobody needs', () => {
    const prefers: LabelRule[] = [
      { key: 'arch', op: '=', value: 'arm64' },
      { key: 'disk', op: 'exists' }
    ]
    const requirements = { ...REQUIREMENTS_DEFAULTS, prefers }
    const plain = { ...OFFER, gpus: 0 }
    expect(rank(REQUIREMENTS_DEFAULTS, plain)).toBe(RANK_MAX)
    expect(rank(REQUIREMENTS_DEFAULTS, OFFER)).toBe(RANK_MAX / 2)
    expect(rank({ ...REQUIREMENTS_DEFAULTS, gpu: 1 }, OFFER)).toBe(RANK_MAX)
    expect(rank(requirements, plain)).toBe(666)
    expect(rank(requirements, { ...plain, labels: new Map([['disk', 'fast']]) })).toBe(666)
    expect(rank(requirements, { ...plain, labels: new Map() })).toBe(333)
  })
})
