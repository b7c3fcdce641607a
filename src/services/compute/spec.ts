// What a worker must know of a job to run its tasks: protocols/job, JobSpec. Shards keep it and don't
// look into it. It is read strictly (J-13): a requirement that is passed over would run a task where
// it mustn't run.

import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { errorMessage, MeshError } from '../../base/errors.ts'
import { LABEL_COUNT_MAX, LABEL_LENGTH_MAX } from '../../base/limits.ts'
import type { LabelRule, Requirements } from '../../core/jobs/requirements.ts'
import { JOB_SPEC_BYTES_MAX, JOB_STAGES_MAX, JOB_TASKS_MAX } from '../../core/machine/limits.ts'
import {
  codeProblem,
  COMMAND_ARGS_MAX,
  limitsProblem,
  TASK_NAME_BYTES_MAX,
  taskNameProblem
} from '../../wire/job-task.ts'
import type { CodeRef, TaskLimits } from '../../wire/job-task.ts'
import { JsonFields } from './json-fields.ts'
import type { JsonContext } from './json-fields.ts'

const VERSION = 1
const WHAT = 'job spec'
const PATH_BYTES_MAX = 2_048
const CPU_MILLI_MAX = 1_000_000
const GPU_COUNT_MAX = 1_024
/** In UTF-8 a label may have three times as many bytes as it has code units. */
const LABEL_BYTES_MAX: number = 3 * LABEL_LENGTH_MAX
const STAGE_NAME_BYTES_MAX = 128
export const JOB_PARTS_MAX = 4_096

/** Where the inputs of a part are: here, or in a manifest, by its path or CID. */
export type ManifestRef =
  | { readonly kind: 'inline'; readonly inputs: readonly Uint8Array[] }
  | { readonly kind: 'file'; readonly path: string }

/** How tasks see a stage that they come after. */
export type StageSpec = {
  readonly name: string
  /** It is one value, not a list of them. */
  readonly isOne: boolean
  /** They are told where its results are, and read of them what they need; off unless said. */
  readonly isByReference?: boolean | undefined
  /** What its tasks run, where that isn't what the job says. */
  readonly run?: { readonly task: string; readonly code: CodeRef } | undefined
}

export type JobSpec = {
  readonly task: string
  readonly code: CodeRef
  readonly limits: TaskLimits
  readonly requirements: Requirements
  readonly manifest: ManifestRef
  /** In the order of the job's; a job that is one list of tasks has none. */
  readonly stages?: readonly StageSpec[] | undefined
  /** Of the job; absent: 1. */
  readonly parts?: number | undefined
}

/** @returns of how many parts a job is. */
export function partsOf({ parts = 1 }: JobSpec): number {
  return parts
}

/** @returns what a task of a stage runs, and with what */
export function specOfStage(spec: JobSpec, stage: number): JobSpec {
  const run = spec.stages?.[stage]?.run
  return run === undefined ? spec : { ...spec, ...run }
}

/** The same spec has always the same bytes. @throws invalid-argument, too-large */
export function encodeSpec(spec: JobSpec): Uint8Array {
  const { task, code, limits, requirements, manifest, stages } = spec
  const json = JSON.stringify({
    v: VERSION,
    task,
    code: codeToJson(code),
    limits: { timeoutMs: limits.timeoutMs, memoryBytes: limits.memoryBytes },
    requirements: requirementsToJson(requirements),
    manifest: manifestToJson(manifest),
    ...(stages === undefined ? {} : { stages: stages.map(stageToJson) }),
    ...(partsOf(spec) === 1 ? {} : { parts: spec.parts })
  })
  const bytes = utf8(json)
  if (bytes.length > JOB_SPEC_BYTES_MAX) {
    const advice = `at most ${JOB_SPEC_BYTES_MAX} can be; put its inputs into a manifest`
    throw new MeshError('too-large', `The spec of the job has ${bytes.length} bytes: ${advice}`)
  }
  readSpec(JSON.parse(json), { what: WHAT, code: 'invalid-argument' })
  return bytes
}

/** @throws invalid-data, with the field named */
export function decodeSpec(bytes: Uint8Array): JobSpec {
  const context = { what: WHAT, code: 'invalid-data' } as const
  if (bytes.length > JOB_SPEC_BYTES_MAX) {
    const bound = `at most ${JOB_SPEC_BYTES_MAX} are accepted`
    throw new MeshError('invalid-data', `Malformed ${WHAT}: it has ${bytes.length} bytes; ${bound}`)
  }
  let json: unknown
  try {
    json = JSON.parse(fromUtf8(bytes))
  } catch (error) {
    const message = `Malformed ${WHAT}: ${errorMessage(error)}`
    throw new MeshError('invalid-data', message, { cause: error })
  }
  return readSpec(json, context)
}

function readSpec(json: unknown, context: JsonContext): JobSpec {
  const fields = new JsonFields(json, context)
  fields.number('v', { min: VERSION, max: VERSION })
  const { task, code } = readRun(fields)
  const spec = {
    task,
    code,
    limits: readLimits(fields),
    requirements: readRequirements(fields, code),
    manifest: readManifest(fields),
    ...(fields.has('stages') ? { stages: readStages(fields) } : {}),
    ...(fields.has('parts')
      ? { parts: fields.number('parts', { min: 2, max: JOB_PARTS_MAX }) }
      : {})
  }
  fields.end()
  return spec
}

function readRun(fields: JsonFields): { task: string; code: CodeRef } {
  const code = readCode(fields)
  const task = fields.text('task', { bytesMax: TASK_NAME_BYTES_MAX })
  const problem = taskNameProblem(task, code)
  if (problem !== undefined) throw fields.error('task', `is wrong: ${problem}`)
  return { task, code }
}

function readCode(spec: JsonFields): CodeRef {
  const fields = spec.object('code')
  const kind = fields.oneOf('kind', ['bundle', 'wasm', 'exec'])
  const bound = { bytesMax: JOB_SPEC_BYTES_MAX }
  const code: CodeRef =
    kind === 'exec'
      ? {
          kind,
          command: fields.text('command', bound),
          args: fields.list('args', COMMAND_ARGS_MAX, (list, place) => list.text(place, bound))
        }
      : { kind, cid: fields.text('cid', bound) }
  fields.end()
  const problem = codeProblem(code)
  if (problem !== undefined) throw spec.error('code', `is wrong: ${problem}`)
  return code
}

function readLimits(spec: JsonFields): TaskLimits {
  const fields = spec.object('limits')
  const bound = { max: Number.MAX_SAFE_INTEGER }
  const timeoutMs = fields.number('timeoutMs', bound)
  const memoryBytes = fields.number('memoryBytes', bound)
  fields.end()
  const problem = limitsProblem({ timeoutMs, memoryBytes })
  if (problem !== undefined) throw spec.error('limits', `are wrong: ${problem}`)
  return { timeoutMs, memoryBytes }
}

function readRequirements(spec: JsonFields, code: CodeRef): Requirements {
  const fields = spec.object('requirements')
  const requirements = {
    cpuMilli: fields.number('cpuMilli', { max: CPU_MILLI_MAX }),
    memoryBytes: fields.number('memoryBytes', { max: Number.MAX_SAFE_INTEGER }),
    gpu: fields.number('gpu', { max: GPU_COUNT_MAX }),
    labels: fields.list('labels', LABEL_COUNT_MAX, readRule),
    isExec: fields.flag('isExec'),
    prefers: fields.list('prefers', LABEL_COUNT_MAX, readRule)
  }
  fields.end()
  // A node that runs no commands looks at this alone.
  if (requirements.isExec !== (code.kind === 'exec')) {
    throw fields.error('isExec', `is ${requirements.isExec} for code of kind ${code.kind}`)
  }
  return requirements
}

function readRule(list: JsonFields, place: string): LabelRule {
  const fields = list.object(place)
  const key = fields.text('key', { bytesMin: 1, bytesMax: LABEL_BYTES_MAX })
  const op = fields.oneOf('op', ['=', '!=', 'exists'])
  const rule: LabelRule =
    op === 'exists'
      ? { key, op }
      : { key, op, value: fields.text('value', { bytesMax: LABEL_BYTES_MAX }) }
  fields.end()
  return rule
}

function readManifest(spec: JsonFields): ManifestRef {
  const fields = spec.object('manifest')
  const kind = fields.oneOf('kind', ['inline', 'file'])
  const manifest: ManifestRef =
    kind === 'inline'
      ? { kind, inputs: fields.list('inputs', JOB_TASKS_MAX, readInput) }
      : { kind, path: fields.text('path', { bytesMin: 1, bytesMax: PATH_BYTES_MAX }) }
  fields.end()
  return manifest
}

function readInput(list: JsonFields, place: string): Uint8Array {
  const text = list.text(place, { bytesMax: JOB_SPEC_BYTES_MAX })
  const bytes = Buffer.from(text, 'base64')
  // What isn't base64 is passed over by Buffer.
  if (bytes.toString('base64') !== text) throw list.error(place, 'is no base64')
  return Uint8Array.from(bytes)
}

function readStages(spec: JsonFields): StageSpec[] {
  return spec.list('stages', JOB_STAGES_MAX, (list, place) => {
    const fields = list.object(place)
    const name = fields.text('name', { bytesMin: 1, bytesMax: STAGE_NAME_BYTES_MAX })
    const isOne = fields.flag('isOne')
    const isByReference = fields.has('isByReference') && fields.flag('isByReference')
    const stage = { name, isOne, ...(isByReference ? { isByReference } : {}) }
    if (!fields.has('run')) {
      fields.end()
      return stage
    }
    const inner = fields.object('run')
    const run = readRun(inner)
    inner.end()
    fields.end()
    return { ...stage, run }
  })
}

function requirementsToJson(requirements: Requirements): object {
  const { cpuMilli, memoryBytes, gpu, labels, isExec, prefers } = requirements
  const rules = (all: readonly LabelRule[]): object[] =>
    all.map((rule) =>
      rule.op === 'exists'
        ? { key: rule.key, op: rule.op }
        : { key: rule.key, op: rule.op, value: rule.value }
    )
  return { cpuMilli, memoryBytes, gpu, labels: rules(labels), isExec, prefers: rules(prefers) }
}

function manifestToJson(manifest: ManifestRef): object {
  if (manifest.kind === 'file') return { kind: 'file', path: manifest.path }
  const { inputs } = manifest
  return { kind: 'inline', inputs: inputs.map((input) => Buffer.from(input).toString('base64')) }
}

function codeToJson(code: CodeRef): object {
  return code.kind === 'exec'
    ? { kind: code.kind, command: code.command, args: code.args }
    : { kind: code.kind, cid: code.cid }
}

function stageToJson({ name, isOne, isByReference = false, run }: StageSpec): object {
  const stage = { name, isOne, ...(isByReference ? { isByReference } : {}) }
  if (run === undefined) return stage
  return { ...stage, run: { task: run.task, code: codeToJson(run.code) } }
}
