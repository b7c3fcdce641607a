// A part of a job on its way from a program to its node: what is said of it as JSON, and its inputs.

import { concatBytes, fromUtf8, utf8 } from '../../base/bytes.ts'
import { errorMessage, MeshError } from '../../base/errors.ts'
import { KIB } from '../../base/units.ts'
import type { JobPolicy } from '../../core/machine/job-policy.ts'
import type { Stage } from '../../core/machine/job-records.ts'
import type { PartRequest } from './job-request.ts'
import { encodeManifest, readManifestHeader } from './manifest.ts'
import { decodeSpec, encodeSpec } from './spec.ts'

const HEAD_BYTES_MAX: number = 64 * KIB

type Head = {
  readonly id: string
  readonly part: number
  readonly first: number
  readonly stages: readonly Stage[]
  readonly policy: JobPolicy
  /** Encoded, in base64. */
  readonly spec: string
}

/** @throws too-large, invalid-argument */
export function encodePart(request: PartRequest): Uint8Array {
  const { id, part, first, stages, policy, spec, inputs } = request
  const manifest = { kind: 'inline', inputs: [] } as const
  const encoded = Buffer.from(encodeSpec({ ...spec, manifest })).toString('base64')
  const head = utf8(JSON.stringify({ id, part, first, stages, policy, spec: encoded }))
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, head.length)
  return concatBytes([length, head, encodeManifest(inputs)])
}

/** What it says is checked by the shard that gets it. @throws invalid-data */
export function decodePart(bytes: Uint8Array): PartRequest {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const length = bytes.length < 4 ? 0 : view.getUint32(0)
  if (length === 0 || length > HEAD_BYTES_MAX || 4 + length > bytes.length) {
    throw new MeshError('invalid-data', 'Malformed part of a job: it is cut off')
  }
  let head: Head
  try {
    head = JSON.parse(fromUtf8(bytes.subarray(4, 4 + length))) as Head
    if (typeof head.spec !== 'string') throw new Error('it has no spec')
  } catch (error) {
    const problem = `Malformed part of a job: ${errorMessage(error)}`
    throw new MeshError('invalid-data', problem, { cause: error })
  }
  const manifest = bytes.subarray(4 + length)
  const { count, offsets } = readManifestHeader(manifest)
  const inputs = Array.from({ length: count }, (_, task) =>
    manifest.slice(offsets[task], offsets[task + 1])
  )
  if (manifest.length !== offsets.at(-1)) {
    throw new MeshError('invalid-data', 'Malformed part of a job: its inputs are cut off')
  }
  const { spec, ...rest } = head
  return { ...rest, spec: decodeSpec(Buffer.from(spec, 'base64')), inputs }
}
