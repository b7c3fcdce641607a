// The directive that makes replicas, with its options: those of the files from outside, and further
// ones for the knobs that those files leave alone.

import { utf8 } from '../../../../src/base/bytes.ts'
import type { RaftConfig } from '../../../../src/core/raft/config.ts'
import { RAFT_DEFAULTS } from '../../../../src/core/raft/config.ts'
import { EMPTY_CONFIG_STATE, NO_BYTES, UNBOUNDED } from '../../../../src/core/raft/messages.ts'
import type { Snapshot } from '../../../../src/core/raft/messages.ts'
import type { Directive } from './data-file.ts'
import {
  DirectiveError,
  booleanOf,
  demandKnown,
  listOf,
  numberAt,
  numberOf,
  optionOf,
  wholeNumber
} from './directive.ts'
import type { Environment } from './environment.ts'
import { Replica } from './replica.ts'

/** Everything that isn't the subject of a file is off. */
const DEFAULTS: Omit<RaftConfig, 'id'> = {
  ...RAFT_DEFAULTS,
  electionTicks: 3,
  heartbeatTicks: 1,
  preVote: false,
  checkQuorum: false,
  stepDownOnRemoval: false,
  appendBytesMax: UNBOUNDED,
  committedBytesMax: UNBOUNDED,
  uncommittedBytesMax: UNBOUNDED,
  inflightCountMax: UNBOUNDED,
  inflightBytesMax: UNBOUNDED
}

const BOOLEANS: Readonly<Record<string, keyof RaftConfig>> = {
  'async-storage-writes': 'asyncStorageWrites',
  prevote: 'preVote',
  checkquorum: 'checkQuorum',
  'step-down-on-removal': 'stepDownOnRemoval',
  // From here on: only in files of this project.
  'forward-proposals': 'forwardProposals'
}

const NUMBERS: Readonly<Record<string, keyof RaftConfig>> = {
  inflight: 'inflightCountMax',
  'max-committed-size-per-ready': 'committedBytesMax',
  // From here on: only in files of this project.
  'inflight-bytes': 'inflightBytesMax',
  'append-bytes': 'appendBytesMax',
  'uncommitted-bytes': 'uncommittedBytesMax',
  'pending-reads': 'pendingReadsMax',
  'election-ticks': 'electionTicks',
  'heartbeat-ticks': 'heartbeatTicks'
}

const OTHERS = [
  'voters',
  'learners',
  'index',
  'content',
  'disable-conf-change-validation',
  'read-only'
]

export function addReplicas(env: Environment, directive: Directive): void {
  demandKnown(directive, [...Object.keys(BOOLEANS), ...Object.keys(NUMBERS), ...OTHERS])
  const config = parseConfig(directive)
  const initial = parseSnapshot(directive)
  const count = numberAt(directive, 0)
  for (let added = 0; added < count; added++) {
    const id = env.replicas.length + 1
    const { random, output } = env
    env.replicas.push(new Replica({ config: { ...config, id }, initial, random, output }))
  }
}

function parseConfig(directive: Directive): Omit<RaftConfig, 'id'> {
  const settings: Record<string, boolean | number> = {}
  for (const [option, knob] of Object.entries(BOOLEANS)) {
    const value = booleanOf(directive, option)
    if (value !== undefined) settings[knob] = value
  }
  for (const [option, knob] of Object.entries(NUMBERS)) {
    const value = numberOf(directive, option)
    if (value !== undefined) settings[knob] = value
  }
  const validateConfigChanges = !(booleanOf(directive, 'disable-conf-change-validation') ?? false)
  const readMode = parseReadMode(optionOf(directive, 'read-only'))
  return { ...DEFAULTS, ...settings, validateConfigChanges, readMode }
}

function parseReadMode(text: string | undefined): RaftConfig['readMode'] {
  if (text === undefined || text === 'safe') return 'safe'
  if (text === 'lease-based') return 'lease'
  throw new DirectiveError(`invalid read-only option "${text}"`)
}

/** What the replicas start with; index 0 when that is nothing. */
function parseSnapshot(directive: Directive): Snapshot {
  const ids = (key: string): number[] =>
    (listOf(directive, key) ?? []).map(wholeNumber).toSorted((a, b) => a - b)
  const configState = { ...EMPTY_CONFIG_STATE, voters: ids('voters'), learners: ids('learners') }
  const index = numberOf(directive, 'index') ?? 0
  const content = optionOf(directive, 'content') ?? ''
  const { voters, learners } = configState
  const isEmpty = voters.length + learners.length + index === 0 && content === ''
  if (isEmpty) return { index: 0, term: 0, configState: EMPTY_CONFIG_STATE, data: NO_BYTES }
  if (index <= 1) throw new DirectiveError('index must be specified as > 1 due to bootstrap')
  return { index, term: 1, configState, data: utf8(content) }
}
