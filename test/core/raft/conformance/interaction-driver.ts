// Directives about replicas that talk to each other: those of the files from outside.

import { createRandom } from '../../../../src/base/random.ts'
import type { Random } from '../../../../src/base/random.ts'
import type { ConfigChange } from '../../../../src/core/raft/messages.ts'
import { NO_BYTES, createMessage } from '../../../../src/core/raft/messages.ts'
import { utf8 } from '../../../../src/base/bytes.ts'
import { addReplicas } from './add-nodes.ts'
import { parseSteps } from './config-change-input.ts'
import type { Directive } from './data-file.ts'
import {
  DirectiveError,
  booleanOf,
  demandKnown,
  numberAt,
  numberOf,
  optionOf,
  plainWords,
  replicaIds,
  wholeNumber
} from './directive.ts'
import { Environment, refusalText } from './environment.ts'
import type { Delivery } from './environment.ts'
import { parseLevel } from './output.ts'
import { OWN_DIRECTIVES } from './own-directives.ts'
import type { Replica } from './replica.ts'
import { FIRST_KIND_MARK, entryLines, messageType, progressMapText, roleName } from './texts.ts'

type Handler = (env: Environment, directive: Directive) => void

/** How election timeouts are drawn. */
export type Election = 'random' | 'minimal' | 'maximal'

export class InteractionDriver {
  readonly #env: Environment

  constructor(election: Election, seed: number) {
    this.#env = new Environment(timeoutsOf(election, seed))
  }

  run(directive: Directive): string {
    const { output } = this.#env
    output.take()
    try {
      const handle = DIRECTIVES[directive.command] ?? OWN_DIRECTIVES[directive.command]
      if (handle === undefined) throw new DirectiveError('unknown command')
      handle(this.#env, directive)
    } catch (error) {
      if (!(error instanceof DirectiveError)) throw error
      if (output.level === 'NONE') return error.message
      output.write(error.message)
    }
    const text = output.take()
    return text === '' ? 'ok' : text
  }
}

function timeoutsOf(election: Election, seed: number): Random {
  const random = createRandom(seed)
  if (election === 'random') return random
  return { ...random, below: (bound) => (election === 'minimal' ? 0 : bound - 1) }
}

const DIRECTIVES: Readonly<Record<string, Handler>> = {
  'add-nodes': addReplicas,
  campaign: (env, directive) => first(env, directive).raft.campaign(),
  propose,
  'propose-conf-change': proposeConfigChange,
  'process-ready': (env, directive) =>
    forEach(env, directive, 'handling Ready', (replica) => env.processReady(replica)),
  'process-append-thread': (env, directive) =>
    forEach(env, directive, 'processing append thread', (replica) => env.processAppend(replica)),
  'process-apply-thread': (env, directive) =>
    forEach(env, directive, 'processing apply thread', (replica) => env.processApply(replica)),
  'deliver-msgs': deliverMessages,
  stabilize,
  'tick-heartbeat': (env, directive) => {
    const { raft, config } = first(env, directive)
    for (let tick = 0; tick < config.heartbeatTicks; tick++) raft.tick()
  },
  'tick-election': (env, directive) => {
    const { raft, config } = first(env, directive)
    for (let tick = 0; tick < config.electionTicks; tick++) raft.tick()
  },
  'set-randomized-election-timeout': (env, directive) => {
    demandKnown(directive, ['timeout'])
    const { state } = first(env, directive).raft
    state.randomizedElectionTicks = needed(directive, 'timeout')
  },
  'log-level': (env, directive) => {
    env.output.level = parseLevel(plainWords(directive)[0] ?? '')
  },
  status: (env, directive) => {
    const { state } = first(env, directive).raft
    if (state.role === 'leader') env.output.write(progressMapText(state.members.progress))
  },
  'raft-state': (env) => {
    for (const { id, raft } of env.replicas) {
      const { role, isVoter, term, leader } = raft.state
      const voter = isVoter ? '(Voter)' : '(Non-Voter)'
      env.output.write(`${id}: ${roleName(role)} ${voter} Term:${term} Lead:${leader}\n`)
    }
  },
  'raft-log': (env, directive) => showLog(env, first(env, directive)),
  compact: (env, directive) => {
    const replica = first(env, directive)
    replica.storage.compact(numberAt(directive, 1))
    showLog(env, replica)
  },
  'forget-leader': (env, directive) => first(env, directive).raft.forgetLeader(),
  'transfer-leadership': (env, directive) => {
    demandKnown(directive, ['from', 'to'])
    env.replica(needed(directive, 'from')).raft.transferLeader(needed(directive, 'to'))
  },
  'report-unreachable': (env, directive) =>
    first(env, directive).raft.reportUnreachable(numberAt(directive, 1)),
  'send-snapshot': sendSnapshot
}

function first(env: Environment, directive: Directive): Replica {
  return env.replica(numberAt(directive, 0))
}

function needed(directive: Directive, key: string): number {
  const value = numberOf(directive, key)
  if (value === undefined) throw new DirectiveError(`${directive.command} lacks ${key}`)
  return value
}

/** Does the same at each replica that is named, under a title when there are several. */
function forEach(
  env: Environment,
  directive: Directive,
  title: string,
  action: (replica: Replica) => void
): void {
  const ids = replicaIds(directive)
  for (const id of ids) {
    if (ids.length === 1) {
      action(env.replica(id))
      continue
    }
    env.output.write(`> ${id} ${title}\n`)
    env.output.indented(() => action(env.replica(id)))
  }
}

function propose(env: Environment, directive: Directive): void {
  const [, text = ''] = plainWords(directive)
  const problem = refusalText(first(env, directive).raft.propose([utf8(text)]))
  if (problem !== undefined) throw new DirectiveError(problem)
}

const TRANSITIONS: readonly string[] = ['auto', 'implicit', 'explicit']

function proposeConfigChange(env: Environment, directive: Directive): void {
  const other = directive.words.find(
    ({ key, values }) => values.length > 0 && key !== 'v1' && key !== 'transition'
  )
  if (other !== undefined) throw new DirectiveError(`unknown command ${other.key}`)
  const isFirstKind = booleanOf(directive, 'v1') ?? false
  const transition = optionOf(directive, 'transition') ?? 'auto'
  if (!TRANSITIONS.includes(transition)) {
    throw new DirectiveError(`unknown transition ${transition}`)
  }
  const steps = parseSteps(directive.input)
  if (isFirstKind && (steps.length !== 1 || transition !== 'auto')) {
    throw new DirectiveError('v1 conf change can only have one operation and no transition')
  }
  const change = {
    transition: transition as ConfigChange['transition'],
    steps,
    context: isFirstKind ? FIRST_KIND_MARK : NO_BYTES
  }
  const problem = refusalText(first(env, directive).raft.proposeConfigChange(change))
  if (problem !== undefined) throw new DirectiveError(problem)
}

function deliverMessages(env: Environment, directive: Directive): void {
  let taken = 0
  for (const delivery of deliveries(directive)) taken += env.deliver(delivery)
  if (taken === 0) env.output.write('no messages\n')
}

function deliveries(directive: Directive): Delivery[] {
  demandKnown(directive, ['type', 'drop'])
  const typeName = optionOf(directive, 'type')
  const type = typeName === undefined ? undefined : messageType(typeName)
  if (typeName !== undefined && type === undefined) {
    throw new DirectiveError(`unknown message type ${typeName}`)
  }
  const found: Delivery[] = []
  for (const { key, values } of directive.words) {
    if (key === 'type') continue
    const isDropped = key === 'drop' && values.length > 0
    for (const text of isDropped ? values : [key]) {
      const to = wholeNumber(text)
      if (found.some((delivery) => delivery.to === to && delivery.isDropped !== isDropped)) {
        throw new DirectiveError(`messages to ${to} are delivered or dropped, not both`)
      }
      found.push({ to, isDropped, type })
    }
  }
  return found
}

function stabilize(env: Environment, directive: Directive): void {
  demandKnown(directive, ['log-level'])
  const ids = replicaIds(directive)
  const replicas = ids.length === 0 ? env.replicas : ids.map((id) => env.replica(id))
  const level = optionOf(directive, 'log-level')
  const { output } = env
  const before = output.level
  if (level !== undefined) output.level = parseLevel(level)
  try {
    env.stabilize(replicas)
  } finally {
    output.level = before
  }
}

function showLog(env: Environment, { storage }: Replica): void {
  const firstIndex = storage.firstIndex()
  const lastIndex = storage.lastIndex()
  if (lastIndex < firstIndex) {
    env.output.write(`log is empty: first index=${firstIndex}, last index=${lastIndex}`)
    return
  }
  env.output.write(entryLines(storage.entries(firstIndex, lastIndex + 1, Infinity) ?? []))
}

function sendSnapshot(env: Environment, directive: Directive): void {
  const { id, raft, storage } = first(env, directive)
  const message = createMessage({
    type: 'snapshot',
    from: id,
    to: env.replica(numberAt(directive, 1)).id,
    term: raft.state.term,
    snapshot: storage.snapshot()
  })
  env.messages.push(message)
  env.output.write(env.text(message))
}
