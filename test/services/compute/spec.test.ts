// JobSpecs are read strictly: what a reader doesn't know or doesn't believe it refuses, and says which
// field it was (J-13).

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromUtf8, toHex, utf8 } from '../../../src/base/bytes.ts'
import { REQUIREMENTS_DEFAULTS } from '../../../src/core/jobs/requirements.ts'
import { JOB_SPEC_BYTES_MAX } from '../../../src/core/machine/limits.ts'
import { decodeSpec, encodeSpec, partsOf } from '../../../src/services/compute/spec.ts'
import type { JobSpec } from '../../../src/services/compute/spec.ts'
import { codeOf } from '../../wire/codecs.ts'
import { specArb } from '../../wire/job-values.ts'

const CID = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'
const SPEC: JobSpec = {
  task: 'resize',
  code: { kind: 'bundle', cid: CID },
  limits: { timeoutMs: 1_000, memoryBytes: 1_024 },
  requirements: {
    ...REQUIREMENTS_DEFAULTS,
    labels: [{ key: 'camera', op: 'exists' }],
    prefers: [{ key: 'zone', op: '=', value: 'home' }]
  },
  manifest: { kind: 'inline', inputs: [utf8('one'), utf8('')] },
  stages: [
    { name: 'map', isOne: false, isByReference: true },
    { name: 'reduce', isOne: true }
  ],
  parts: 3
}
const EXEC: JobSpec = {
  ...SPEC,
  task: '',
  code: { kind: 'exec', command: 'ffmpeg', args: ['-i', ''] },
  requirements: { ...REQUIREMENTS_DEFAULTS, isExec: true }
}

type Json = Record<string, unknown>
const jsonOf = (spec: JobSpec): Json => JSON.parse(fromUtf8(encodeSpec(spec))) as Json
const bytesOf = (json: unknown): Uint8Array => utf8(JSON.stringify(json))

/** Every path to a value in it, with a function that puts another one there. */
function* places(
  value: unknown,
  path = ''
): Generator<{ path: string; parent: Json; key: string }> {
  if (typeof value !== 'object' || value === null) return
  for (const key of Object.keys(value)) {
    const parent = value as Json
    const here = path === '' ? key : `${path}.${key}`
    yield { path: here, parent, key }
    yield* places(parent[key], here)
  }
}

function refusal(json: unknown): string {
  try {
    decodeSpec(bytesOf(json))
    return 'none'
  } catch (error) {
    expect(codeOf(() => decodeSpec(bytesOf(json)))).toBe('invalid-data')
    return (error as Error).message
  }
}

describe('a spec', () => {
  it('is read as it was written, and is always written in the same way', () => {
    fc.assert(
      fc.property(specArb, (spec) => {
        const bytes = encodeSpec(spec)
        const read = decodeSpec(bytes)
        expect(read).toEqual(spec)
        expect(toHex(encodeSpec(read))).toBe(toHex(bytes))
      })
    )
  })

  it('is the same whatever order its fields came in', () => {
    const { task, ...rest } = SPEC
    const turned = { ...Object.fromEntries(Object.entries(rest).toReversed()), task } as JobSpec
    expect(toHex(encodeSpec(turned))).toBe(toHex(encodeSpec(SPEC)))
    const extra = { ...EXEC, code: { ...EXEC.code, note: 1 }, limits: { ...EXEC.limits, note: 1 } }
    expect(toHex(encodeSpec(extra))).toBe(toHex(encodeSpec(EXEC)))
  })

  it('has one part unless it says otherwise', () => {
    expect(partsOf(SPEC)).toBe(3)
    expect(partsOf(EXEC)).toBe(3)
    const { parts: _, ...one } = SPEC
    expect(partsOf(decodeSpec(encodeSpec(one)))).toBe(1)
    expect(toHex(encodeSpec({ ...SPEC, parts: 1 }))).toBe(toHex(encodeSpec(one)))
  })

  it('that is too long is refused, and what can be done is said', () => {
    const manifest = { kind: 'inline', inputs: [new Uint8Array(JOB_SPEC_BYTES_MAX)] } as const
    expect(codeOf(() => encodeSpec({ ...SPEC, manifest }))).toBe('too-large')
    const json = { ...jsonOf(SPEC), task: 'x'.repeat(JOB_SPEC_BYTES_MAX) }
    expect(refusal(json)).toContain('bytes; at most 8192 are accepted')
  })

  it('that nobody could read is refused where it is made', () => {
    const wrong: JobSpec[] = [
      { ...SPEC, task: '' },
      { ...SPEC, code: { kind: 'wasm', cid: 'nonsense' } },
      { ...SPEC, limits: { timeoutMs: Number.NaN, memoryBytes: 1 } },
      { ...SPEC, limits: { timeoutMs: 1, memoryBytes: 0 } },
      { ...SPEC, requirements: { ...SPEC.requirements, cpuMilli: -1 } },
      { ...SPEC, manifest: { kind: 'file', path: '' } },
      { ...SPEC, parts: 4_097 },
      { ...SPEC, task: '\ud800' },
      { ...EXEC, code: { kind: 'exec', command: 'a\0', args: [] } }
    ]
    for (const spec of wrong) expect(codeOf(() => encodeSpec(spec))).toBe('invalid-argument')
  })
})

describe('J-13 a reader refuses', () => {
  const specs = {
    bundle: SPEC,
    exec: EXEC,
    file: { ...SPEC, manifest: { kind: 'file', path: 'v/in' } }
  }

  it.each(Object.entries(specs))('a %s that lacks any field, and names it', (_, spec) => {
    const optional = ['stages', 'stages.0.isByReference', 'parts']
    for (const { path } of places(jsonOf(spec as JobSpec))) {
      if (/\.\d+$/.test(path) || optional.includes(path)) continue
      const json = jsonOf(spec as JobSpec)
      for (const place of places(json)) if (place.path === path) delete place.parent[place.key]
      expect(refusal(json)).toContain(` ${path} is missing`)
    }
  })

  it.each(Object.entries(specs))('a %s with a field of another kind anywhere', (_, spec) => {
    const others = [null, [], {}, true, 'x\0', -1, 0.5, 1e300, [{}], '\ud800']
    for (const { path } of places(jsonOf(spec as JobSpec))) {
      for (const other of others) {
        const json = jsonOf(spec as JobSpec)
        let before: unknown
        for (const place of places(json)) {
          if (place.path !== path) continue
          before = place.parent[place.key]
          place.parent[place.key] = other
        }
        const kindOf = (value: unknown): string => (Array.isArray(value) ? 'list' : typeof value)
        if (other !== null && kindOf(before) === kindOf(other) && !isNumber(other)) continue
        const root = path.split('.')[0] as string
        expect(refusal(json), `${path} = ${JSON.stringify(other)}`).toContain(root)
      }
    }
  })

  it.each(Object.entries(specs))('a %s with a field that it does not know, anywhere', (_, spec) => {
    const all = [...places(jsonOf(spec as JobSpec))]
    const paths = ['', ...all.map(({ path }) => path)]
    for (const path of paths) {
      const json = jsonOf(spec as JobSpec)
      const found = [...places(json)].find((place) => place.path === path)
      const target = found === undefined ? json : found.parent[found.key]
      if (typeof target !== 'object' || Array.isArray(target)) continue
      ;(target as Json)['__proto__x'] = 1
      expect(refusal(json)).toContain('__proto__x is not known here')
    }
    const text = fromUtf8(encodeSpec(spec as JobSpec)).replace('{', '{"__proto__":{},')
    expect(codeOf(() => decodeSpec(utf8(text)))).toBe('invalid-data')
  })

  it('another version, and what is no JSON', () => {
    expect(refusal({ ...jsonOf(SPEC), v: 2 })).toContain('v is 2; 1 to 1 can be')
    for (const json of [null, [], 'x', 1]) expect(refusal(json)).toContain('it is no object')
    const broken = [utf8(''), utf8('{'), Uint8Array.of(0xff), utf8('['.repeat(8_000))]
    for (const bytes of broken) expect(codeOf(() => decodeSpec(bytes))).toBe('invalid-data')
  })

  it('a command that says it is none, and the reverse', () => {
    const says = (spec: JobSpec, isExec: boolean): string =>
      refusal({ ...jsonOf(spec), requirements: { ...spec.requirements, isExec } })
    expect(says(EXEC, true)).toBe('none')
    expect(says(EXEC, false)).toContain('requirements.isExec is false for code of kind exec')
    expect(says(SPEC, true)).toContain('requirements.isExec is true for code of kind bundle')
  })

  it('an input that is not exactly base64', () => {
    const says = (input: string): string =>
      refusal({ ...jsonOf(SPEC), manifest: { kind: 'inline', inputs: ['', input] } })
    expect(['b25l', 'b24=', ''].map(says)).toEqual(['none', 'none', 'none'])
    for (const input of ['b24', 'b2_=', 'b2 5s', 'b25=', '=']) {
      expect(says(input)).toContain('manifest.inputs.1 is no base64')
    }
  })

  it('more labels, stages and parts than there may be', () => {
    const labels = Array.from({ length: 33 }, () => ({ key: 'k', op: 'exists' }))
    const requirements = { ...SPEC.requirements, labels }
    expect(refusal({ ...jsonOf(SPEC), requirements })).toContain('requirements.labels has 33 items')
    const stages = Array.from({ length: 257 }, () => 0)
    expect(refusal({ ...jsonOf(SPEC), stages })).toContain('stages has 257 items')
    expect(refusal({ ...jsonOf(SPEC), parts: 1 })).toContain('parts is 1; 2 to 4096 can be')
  })
})

function isNumber(value: unknown): boolean {
  return typeof value === 'number'
}
