// One line of a log.

import type { RaftEvent } from '../../../../src/core/raft/events.ts'
import type { Level } from './output.ts'

export type LogLine = { readonly level: Level; readonly text: string }

/** The events that have one of these types. */
export type EventOf<T extends RaftEvent['type']> = RaftEvent & { readonly type: T }

export const debug = (text: string): LogLine => ({ level: 'DEBUG', text })
export const info = (text: string): LogLine => ({ level: 'INFO', text })
export const warn = (text: string): LogLine => ({ level: 'WARN', text })
