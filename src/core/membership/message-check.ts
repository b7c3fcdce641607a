// What a message must fulfil before anything in it is looked at.

import { SEQUENCE_LIMIT, UPDATES_PER_MESSAGE_MAX, UPDATES_PER_SYNC_MAX } from './messages.ts'
import type { MembershipMessage } from './messages.ts'

/** Why a message was refused whole. */
export type MessageProblem = 'oversize' | 'seq'

/** @returns what is wrong with a message, or undefined. */
export function messageProblem(message: MembershipMessage): MessageProblem | undefined {
  switch (message.kind) {
    case 'sync':
    case 'sync-reply':
      return message.updates.length > UPDATES_PER_SYNC_MAX ? 'oversize' : undefined
    case 'gossip':
      return message.updates.length > UPDATES_PER_MESSAGE_MAX ? 'oversize' : undefined
    case 'nack':
      return isSequence(message.seq) ? undefined : 'seq'
    case 'ping':
    case 'ack':
    case 'ping-request':
      if (message.updates.length > UPDATES_PER_MESSAGE_MAX) return 'oversize'
      return isSequence(message.seq) ? undefined : 'seq'
  }
}

function isSequence(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value < SEQUENCE_LIMIT
}
