// What a task needs and what a node has: whether they fit, why not, and how well. Both sides have a
// say, as in HTCondor's matching: a task asks for a kind of node, and a node says for whom it works.

import { formatBytes } from '../../base/units.ts'

/** What a label of a node must be. */
export type LabelRule =
  | { readonly key: string; readonly op: '=' | '!='; readonly value: string }
  | { readonly key: string; readonly op: 'exists' }

/** What one task needs. */
export type Requirements = {
  /** Thousandths of a processor: 1000 is a slot of its own. */
  readonly cpuMilli: number
  readonly memoryBytes: number
  /** Whole ones, for itself. */
  readonly gpu: number
  /** All of them hold. */
  readonly labels: readonly LabelRule[]
  /** It runs a command of the node's. */
  readonly isExec: boolean
  /** Nodes where these hold, too, are better; others will do. */
  readonly prefers: readonly LabelRule[]
}

export const REQUIREMENTS_DEFAULTS: Requirements = {
  cpuMilli: 1_000,
  memoryBytes: 0,
  gpu: 0,
  labels: [],
  isExec: false,
  prefers: []
}

/** What a node may give to tasks, in all or what is left of it now. */
export type Free = {
  readonly cpuMilli: number
  readonly memoryBytes: number
  readonly gpus: number
}

/** What a node has for tasks. */
export type Offer = Free & {
  readonly labels: ReadonlyMap<string, string>
  /** Whether it runs commands for others. */
  readonly allowsExec: boolean
  /** Whom it works for; undefined: for everybody. */
  readonly accepts: { readonly submitters: readonly string[] | undefined }
}

/** Why a node doesn't run a task: `busy` passes, the others don't. */
type LackCode = 'label' | 'memory' | 'cpu' | 'gpu' | 'exec' | 'refused' | 'busy'

export type Lack = {
  readonly code: LackCode
  /** For people: what the node lacks, and what it has. */
  readonly message: string
}

/**
 * @param about.free what is left at the node now; undefined: only whether it could, ever
 * @returns all reasons against it; none: it fits
 */
export function lacks(
  requirements: Requirements,
  offer: Offer,
  about: { readonly submitter: string; readonly free: Free | undefined }
): readonly Lack[] {
  const found: Lack[] = []
  const { submitters } = offer.accepts
  if (submitters?.includes(about.submitter) === false) {
    found.push({ code: 'refused', message: `it doesn't work for "${about.submitter}"` })
  }
  if (requirements.isExec && !offer.allowsExec) {
    found.push({ code: 'exec', message: 'it runs no commands for others' })
  }
  for (const rule of requirements.labels) {
    if (!holds(rule, offer.labels))
      found.push({ code: 'label', message: unmet(rule, offer.labels) })
  }
  found.push(...shortOf(requirements, offer))
  if (found.length > 0 || about.free === undefined) return found
  return shortOf(requirements, about.free).map(({ message }) => {
    return { code: 'busy', message: `now ${message}` }
  })
}

/** How well a node fits, for tasks that it doesn't lack anything for: 0 to this. */
export const RANK_MAX = 1_000

/**
 * A node that has what is preferred is better, and one without a GPU is better for what needs none:
 * those that have one are left to who does.
 *
 * @returns 0 to {@link RANK_MAX}, higher is better
 */
export function rank(requirements: Requirements, offer: Offer): number {
  const { prefers, gpu } = requirements
  const met = prefers.filter((rule) => holds(rule, offer.labels)).length
  const whole = Math.floor((RANK_MAX * (1 + met)) / (1 + prefers.length))
  return gpu === 0 && offer.gpus > 0 ? Math.floor(whole / 2) : whole
}

/** What a node has too little of. */
function shortOf({ cpuMilli, memoryBytes, gpu }: Requirements, has: Free): Lack[] {
  const found: Lack[] = []
  if (has.cpuMilli < cpuMilli) {
    const problem = `${cpuMilli / 1_000} are needed`
    found.push({ code: 'cpu', message: `it has ${has.cpuMilli / 1_000} processors; ${problem}` })
  }
  if (has.memoryBytes < memoryBytes) {
    const problem = `${formatBytes(memoryBytes)} is needed`
    found.push({ code: 'memory', message: `it has ${formatBytes(has.memoryBytes)}; ${problem}` })
  }
  if (has.gpus < gpu) {
    found.push({ code: 'gpu', message: `it has ${has.gpus} GPUs; ${gpu} are needed` })
  }
  return found
}

function holds(rule: LabelRule, labels: ReadonlyMap<string, string>): boolean {
  const value = labels.get(rule.key)
  if (rule.op === 'exists') return value !== undefined
  return (value === rule.value) === (rule.op === '=')
}

function unmet(rule: LabelRule, labels: ReadonlyMap<string, string>): string {
  const value = labels.get(rule.key)
  const has = value === undefined ? `it has no label ${rule.key}` : `it has ${rule.key}=${value}`
  return rule.op === 'exists' ? has : `${has}; ${rule.key}${rule.op}${rule.value} is needed`
}
