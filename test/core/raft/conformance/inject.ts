// Messages that no replica has sent: from liars, from the past, from a broken storage.

import type { Entry, Message, MessageDraft } from '../../../../src/core/raft/messages.ts'
import {
  APPEND_THREAD,
  APPLY_THREAD,
  EMPTY_CONFIG_STATE,
  NO_BYTES,
  createMessage
} from '../../../../src/core/raft/messages.ts'
import { utf8 } from '../../../../src/base/bytes.ts'
import type { Directive } from './data-file.ts'
import {
  DirectiveError,
  booleanOf,
  demandKnown,
  listOf,
  optionOf,
  plainWords,
  wholeNumber
} from './directive.ts'
import type { Environment } from './environment.ts'
import { messageType } from './texts.ts'

const NUMBERS: Readonly<Record<string, keyof Message>> = {
  term: 'term',
  'log-term': 'logTerm',
  index: 'index',
  commit: 'commit',
  vote: 'vote',
  hint: 'rejectHint',
  read: 'readSequence'
}

const OTHERS = ['reject', 'transfer', 'context', 'entries', 'snapshot', 'voters']

/** `entries=(2/12,2/13)`; `snapshot=2/12 voters=(1,2)`. Numbers may be any, also impossible ones. */
export function injectMessage(env: Environment, directive: Directive): void {
  demandKnown(directive, [...Object.keys(NUMBERS), ...OTHERS])
  const [name = '', from = '', to = ''] = plainWords(directive)
  const type = messageType(name)
  if (type === undefined) throw new DirectiveError(`unknown message type ${name}`)
  const draft: Record<string, unknown> = { type, from: target(from), to: target(to) }
  for (const [option, field] of Object.entries(NUMBERS)) {
    const text = optionOf(directive, option)
    if (text !== undefined) draft[field] = Number(text)
  }
  draft['reject'] = booleanOf(directive, 'reject')
  draft['isTransfer'] = booleanOf(directive, 'transfer')
  const context = optionOf(directive, 'context')
  if (context !== undefined) draft['context'] = utf8(context)
  draft['entries'] = listOf(directive, 'entries')?.map(parseEntry)
  draft['snapshot'] = parseSnapshot(directive)
  const message = createMessage(draft as MessageDraft)
  env.messages.push(message)
  env.output.write(env.text(message))
}

function target(text: string): number {
  if (text === 'AppendThread') return APPEND_THREAD
  return text === 'ApplyThread' ? APPLY_THREAD : wholeNumber(text)
}

function parsePlace(text: string): { term: number; index: number } {
  const [term = NaN, index = NaN] = text.split('/').map(Number)
  return { term, index }
}

function parseEntry(text: string): Entry {
  return { type: 'normal', ...parsePlace(text), data: NO_BYTES }
}

function parseSnapshot(directive: Directive): Message['snapshot'] {
  const place = optionOf(directive, 'snapshot')
  if (place === undefined) return undefined
  const voters = (listOf(directive, 'voters') ?? []).map(wholeNumber)
  const configState = { ...EMPTY_CONFIG_STATE, voters }
  return { ...parsePlace(place), configState, data: NO_BYTES }
}
