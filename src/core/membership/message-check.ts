// What a message must fulfil before anything in it is looked at.

import {
  FORGOTTEN_MAX,
  SEQUENCE_LIMIT,
  UPDATES_PER_MESSAGE_MAX,
  UPDATES_PER_SYNC_MAX
} from './messages.ts'
import type { MembershipMessage } from './messages.ts'

/** Why a message was refused whole. */
export type MessageProblem = 'oversize' | 'seq' | 'forgotten'

/** @returns what is wrong with a message, or undefined. */
export function messageProblem(message: MembershipMessage): MessageProblem | undefined {
  switch (message.kind) {
    case 'sync':
    case 'sync-reply':
      if (message.updates.length > UPDATES_PER_SYNC_MAX) return 'oversize'
      return isWholeBelow(message.forgotten, FORGOTTEN_MAX + 1) ? undefined : 'forgotten'
    case 'gossip':
      return message.updates.length > UPDATES_PER_MESSAGE_MAX ? 'oversize' : undefined
    case 'nack':
      return isWholeBelow(message.seq, SEQUENCE_LIMIT) ? undefined : 'seq'
    case 'ping':
    case 'ack':
    case 'ping-request':
      if (message.updates.length > UPDATES_PER_MESSAGE_MAX) return 'oversize'
      return isWholeBelow(message.seq, SEQUENCE_LIMIT) ? undefined : 'seq'
  }
}

function isWholeBelow(value: number, limit: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value < limit
}
