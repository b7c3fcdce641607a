// How what a core holds and hands out is written in data files.

import { fromUtf8 } from '../../../../src/base/bytes.ts'
import type { Role } from '../../../../src/core/raft/events.ts'
import { APPEND_THREAD, APPLY_THREAD, NO_REPLICA } from '../../../../src/core/raft/messages.ts'
import type {
  ConfigChange,
  ConfigChangeStep,
  ConfigState,
  Entry,
  HardState,
  Message,
  MessageType,
  ReplicaId,
  Snapshot
} from '../../../../src/core/raft/messages.ts'
import type { Progress, ProgressState } from '../../../../src/core/raft/progress.ts'
import type { Ready } from '../../../../src/core/raft/ready.ts'
import { stepsText } from './config-change-input.ts'

const MESSAGE_NAMES: Readonly<Record<MessageType, string>> = {
  propose: 'MsgProp',
  append: 'MsgApp',
  'append-response': 'MsgAppResp',
  vote: 'MsgVote',
  'vote-response': 'MsgVoteResp',
  'pre-vote': 'MsgPreVote',
  'pre-vote-response': 'MsgPreVoteResp',
  snapshot: 'MsgSnap',
  heartbeat: 'MsgHeartbeat',
  'heartbeat-response': 'MsgHeartbeatResp',
  'transfer-leader': 'MsgTransferLeader',
  'timeout-now': 'MsgTimeoutNow',
  'read-index': 'MsgReadIndex',
  'read-index-response': 'MsgReadIndexResp',
  'storage-append': 'MsgStorageAppend',
  'storage-append-response': 'MsgStorageAppendResp',
  'storage-apply': 'MsgStorageApply',
  'storage-apply-response': 'MsgStorageApplyResp'
}

const ROLE_NAMES: Readonly<Record<Role, string>> = {
  follower: 'StateFollower',
  'pre-candidate': 'StatePreCandidate',
  candidate: 'StateCandidate',
  leader: 'StateLeader'
}

const PROGRESS_NAMES: Readonly<Record<ProgressState, string>> = {
  probe: 'StateProbe',
  replicate: 'StateReplicate',
  snapshot: 'StateSnapshot'
}

const STEP_NAMES: Readonly<Record<ConfigChangeStep['type'], string>> = {
  'add-voter': 'ConfChangeAddNode',
  remove: 'ConfChangeRemoveNode',
  update: 'ConfChangeUpdateNode',
  'add-learner': 'ConfChangeAddLearnerNode'
}

const TRANSITION_NAMES: Readonly<Record<ConfigChange['transition'], string>> = {
  auto: 'ConfChangeTransitionAuto',
  implicit: 'ConfChangeTransitionJointImplicit',
  explicit: 'ConfChangeTransitionJointExplicit'
}

/** The files know two kinds of entries for changes of members; the core has one, with room. */
export const FIRST_KIND_MARK: Uint8Array = Uint8Array.of(1)

export function messageName(type: MessageType): string {
  return MESSAGE_NAMES[type]
}

/** @returns the type that has this name, undefined when none has */
export function messageType(name: string): MessageType | undefined {
  const found = Object.entries(MESSAGE_NAMES).find(([, known]) => known === name)
  return found?.[0] as MessageType | undefined
}

export function roleName(role: Role): string {
  return ROLE_NAMES[role]
}

/** @returns an id as log lines and messages show it: hexadecimal */
export function idText(id: ReplicaId): string {
  return id.toString(16)
}

/** @returns an id that may be none, or a storage's */
export function targetText(id: ReplicaId): string {
  if (id === NO_REPLICA) return 'None'
  if (id === APPEND_THREAD) return 'AppendThread'
  return id === APPLY_THREAD ? 'ApplyThread' : idText(id)
}

export function configText(config: ConfigState): string {
  const set = (ids: readonly ReplicaId[]): string => `(${ids.map(idText).join(' ')})`
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = config
  const outgoing = votersOutgoing.length > 0 ? `&&${set(votersOutgoing)}` : ''
  const now = learners.length > 0 ? ` learners=${set(learners)}` : ''
  const next = learnersNext.length > 0 ? ` learners_next=${set(learnersNext)}` : ''
  return `voters=${set(voters)}${outgoing}${now}${next}${autoLeave ? ' autoleave' : ''}`
}

export function progressText(progress: Progress): string {
  const { match, next, pendingSnapshot, inflights } = progress
  const parts = [`${PROGRESS_NAMES[progress.state]} match=${match} next=${next}`]
  if (progress.isLearner) parts.push('learner')
  if (progress.isBlocked) parts.push('paused')
  if (pendingSnapshot > 0) parts.push(`pendingSnap=${pendingSnapshot}`)
  if (!progress.isActive) parts.push('inactive')
  if (inflights.count > 0) {
    parts.push(`inflight=${inflights.count}${inflights.isFull ? '[full]' : ''}`)
  }
  return parts.join(' ')
}

export function progressMapText(progress: ReadonlyMap<ReplicaId, Progress>): string {
  const ids = [...progress.keys()].toSorted((a, b) => a - b)
  return ids.map((id) => `${id}: ${progressText(progress.get(id) as Progress)}\n`).join('')
}

/** A change of members as log lines show it. */
export function changeText({ transition, steps }: ConfigChange): string {
  const changes = steps.map(({ type, id }) => ` changes:{type:${STEP_NAMES[type]} node_id:${id}}`)
  return `transition:${TRANSITION_NAMES[transition]}${changes.join('')}`
}

function hardStateText({ term, vote, commit }: HardState): string {
  return `Term:${term}${vote === NO_REPLICA ? '' : ` Vote:${vote}`} Commit:${commit}`
}

function snapshotText({ index, term, configState }: Snapshot): string {
  const list = (ids: readonly ReplicaId[]): string => `[${ids.join(' ')}]`
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = configState
  return (
    `Index:${index} Term:${term} ConfState:Voters:${list(voters)}` +
    ` VotersOutgoing:${list(votersOutgoing)} Learners:${list(learners)}` +
    ` LearnersNext:${list(learnersNext)} AutoLeave:${autoLeave}`
  )
}

function entryText(entry: Entry): string {
  const place = `${entry.term}/${entry.index}`
  if (entry.type === 'normal') return `${place} EntryNormal ${quoted(entry.data)}`
  const { context, steps } = entry.change
  const isFirstKind = context.length > 0 && context[0] === FIRST_KIND_MARK[0]
  const text = steps.length > 0 ? ` ${stepsText(steps)}` : ''
  return `${place} ${isFirstKind ? 'EntryConfChange' : 'EntryConfChangeV2'}${text}`
}

export function entryLines(entries: readonly Entry[]): string {
  return entries.map((entry) => `${entryText(entry)}\n`).join('')
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v'
}

/** @returns text in quotes; what is no text or can't be seen, by its bytes */
function quoted(bytes: Uint8Array): string {
  const hex = (code: number): string => `\\x${code.toString(16).padStart(2, '0')}`
  const shown = (character: string): string => {
    const code = character.codePointAt(0) as number
    return ESCAPES[character] ?? (code < 0x20 || code === 0x7f ? hex(code) : character)
  }
  try {
    return `"${Array.from(fromUtf8(bytes), shown).join('')}"`
  } catch {
    const byte = (code: number): string =>
      code < 0x80 ? shown(String.fromCharCode(code)) : hex(code)
    return `"${[...bytes].map(byte).join('')}"`
  }
}

/** How a message is written; `isDetailed` adds what the files from outside never show. */
export type MessageStyle = { readonly indent?: string; readonly isDetailed?: boolean }

export function messageText(message: Message, style: MessageStyle = {}): string {
  const { indent = '' } = style
  const { from, to, type, term, logTerm, index, commit, vote, snapshot } = message
  let text = `${indent}${targetText(from)}->${targetText(to)} ${MESSAGE_NAMES[type]}`
  text += ` Term:${term} Log:${logTerm}/${index}`
  if (message.reject) text += ` Rejected (Hint: ${message.rejectHint})`
  if (commit !== 0) text += ` Commit:${commit}`
  if (vote !== NO_REPLICA) text += ` Vote:${vote}`
  if (style.isDetailed === true) text += detailText(message)
  text += entriesText(message.entries, indent)
  if (snapshot !== undefined && snapshot.index !== 0) {
    text += `\n${indent}  Snapshot: ${snapshotText(snapshot)}`
  }
  return text + responsesText(message.responses, { ...style, indent })
}

function detailText({ readSequence, context, isTransfer }: Message): string {
  const read = readSequence === 0 ? '' : ` Read:${readSequence}`
  const name = context.length === 0 ? '' : ` Context:${quoted(context)}`
  return `${read}${name}${isTransfer ? ' Transfer' : ''}`
}

function entriesText(entries: readonly Entry[], indent: string): string {
  const [first] = entries
  if (first === undefined) return ''
  if (entries.length === 1) return ` Entries:[${entryText(first)}]`
  const lines = entries.map((entry) => `\n${indent}  ${entryText(entry)}`)
  return ` Entries:[${lines.join('')}\n${indent}]`
}

function responsesText(responses: readonly Message[], style: MessageStyle): string {
  if (responses.length === 0) return ''
  const { indent = '' } = style
  const lines = responses.map(
    (response) => `\n${messageText(response, { ...style, indent: `${indent}  ` })}`
  )
  return ` Responses:[${lines.join('')}\n${indent}]`
}

export function readyText(ready: Ready, style: MessageStyle): string {
  const { softState, hardState, readStates, entries, snapshot, committedEntries } = ready
  let text = ''
  if (softState !== undefined) {
    text += `Lead:${softState.leader} State:${ROLE_NAMES[softState.role]}\n`
  }
  if (hardState !== undefined) text += `HardState ${hardStateText(hardState)}\n`
  if (readStates.length > 0) {
    const reads = readStates.map(({ context, index }) => `${quoted(context)}@${index}`)
    text += `ReadStates ${reads.join(' ')}\n`
  }
  if (entries.length > 0) text += `Entries:\n${entryLines(entries)}`
  if (snapshot !== undefined) text += `Snapshot ${snapshotText(snapshot)}\n`
  if (committedEntries.length > 0) text += `CommittedEntries:\n${entryLines(committedEntries)}`
  if (ready.messages.length > 0) {
    const lines = ready.messages.map((message) => `${messageText(message, style)}\n`)
    text += `Messages:\n${lines.join('')}`
  }
  return text === '' ? '<empty Ready>' : `Ready MustSync=${ready.mustSync}:\n${text}`
}
