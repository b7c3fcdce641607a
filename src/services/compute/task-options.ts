// What is said of a task, in the words of its author, as nodes need it.

import { MeshError } from '../../base/errors.ts'
import { MIB, parseDuration, parseSize, SECOND_MS } from '../../base/units.ts'
import type { LabelRule, Requirements } from '../../core/jobs/requirements.ts'
import type { TaskLimits } from '../../wire/job.ts'

/** What a task needs, and how it is treated. */
export type TaskOptions = {
  /** Processors, also parts of one; 1 unless given. */
  readonly cpu?: number | undefined
  /** What it may hold in memory, as `128MB` or in bytes; 128 MiB unless given. */
  readonly memory?: string | number | undefined
  /** GPUs, whole ones. */
  readonly gpu?: number | undefined
  /** Labels that a node must have, as `camera=front`, `disk!=slow` or `camera`. */
  readonly labels?: readonly string[] | undefined
  /** Labels that are better to have. */
  readonly prefers?: readonly string[] | undefined
  /**
   * May be done twice without harm: a late result counts, and a slow one may be overtaken. Off unless
   * said.
   */
  readonly pure?: boolean | undefined
  /** How long an attempt may take, as `30s` or in milliseconds; 5 minutes unless given. */
  readonly timeout?: string | number | undefined
  /** How often it is tried again when it fails; 3 unless given. */
  readonly retries?: number | undefined
}

const CPU_MAX = 1_024
const GPU_MAX = 64
const RETRIES_MAX = 100
const TIMEOUT_MS: number = 300 * SECOND_MS
const MEMORY_BYTES: number = 128 * MIB
const LABEL = /^([^=!]+)(?:(=|!=)(.*))?$/

export type TaskNeeds = {
  readonly requirements: Requirements
  readonly limits: TaskLimits
  readonly isPure: boolean
  readonly retries: number
}

/** @throws invalid-argument, naming the option and what it takes */
export function needsOf(options: TaskOptions, isExec = false): TaskNeeds {
  const { cpu = 1, gpu = 0, retries = 3, labels = [], prefers = [], pure = false } = options
  if (!(cpu > 0 && cpu <= CPU_MAX)) throw refuse('cpu', cpu, `more than 0, up to ${CPU_MAX}`)
  if (!(Number.isInteger(gpu) && gpu >= 0 && gpu <= GPU_MAX)) {
    throw refuse('gpu', gpu, `a whole number up to ${GPU_MAX}`)
  }
  if (!(Number.isInteger(retries) && retries >= 0 && retries <= RETRIES_MAX)) {
    throw refuse('retries', retries, `a whole number up to ${RETRIES_MAX}`)
  }
  const memoryBytes = sizeOf(options.memory)
  return {
    requirements: {
      cpuMilli: Math.max(1, Math.round(cpu * 1_000)),
      memoryBytes,
      gpu,
      labels: labels.map(ruleOf),
      prefers: prefers.map(ruleOf),
      isExec
    },
    limits: { timeoutMs: durationOf(options.timeout), memoryBytes },
    isPure: pure,
    retries
  }
}

/** @returns what is enough for both */
export function neediest(a: TaskNeeds, b: TaskNeeds): TaskNeeds {
  const max = Math.max
  return {
    requirements: {
      cpuMilli: max(a.requirements.cpuMilli, b.requirements.cpuMilli),
      memoryBytes: max(a.requirements.memoryBytes, b.requirements.memoryBytes),
      gpu: max(a.requirements.gpu, b.requirements.gpu),
      labels: [...new Set([...a.requirements.labels, ...b.requirements.labels])],
      isExec: false,
      prefers: a.requirements.prefers
    },
    limits: {
      timeoutMs: max(a.limits.timeoutMs, b.limits.timeoutMs),
      memoryBytes: max(a.limits.memoryBytes, b.limits.memoryBytes)
    },
    isPure: a.isPure && b.isPure,
    retries: max(a.retries, b.retries)
  }
}

function sizeOf(memory: string | number | undefined): number {
  if (memory === undefined) return MEMORY_BYTES
  const bytes = typeof memory === 'number' ? memory : parseSize(memory)
  if (Number.isSafeInteger(bytes) && bytes >= MIB) return bytes
  throw refuse('memory', memory, 'a size of 1MiB or more, such as 128MB')
}

function durationOf(timeout: string | number | undefined): number {
  if (timeout === undefined) return TIMEOUT_MS
  const durationMs = typeof timeout === 'number' ? timeout : parseDuration(timeout)
  if (Number.isSafeInteger(durationMs) && durationMs > 0) return durationMs
  throw refuse('timeout', timeout, 'a duration, such as 30s')
}

/** @throws invalid-argument */
function ruleOf(text: string): LabelRule {
  const [, key, op, value = ''] = LABEL.exec(text) ?? []
  if (key === undefined) throw refuse('labels', text, 'KEY, KEY=VALUE or KEY!=VALUE')
  return op === undefined ? { key, op: 'exists' } : { key, op: op === '=' ? '=' : '!=', value }
}

function refuse(option: string, value: unknown, accepted: string): MeshError {
  const problem = `${option} is ${String(value)}; it takes ${accepted}`
  return new MeshError('invalid-argument', `Cannot make the task: ${problem}`)
}
