// The log line that belongs to an event of a core: the log, the members, and what a leader knows of
// each.

import type { RaftEvent } from '../../../../src/core/raft/events.ts'
import type { Snapshot } from '../../../../src/core/raft/messages.ts'
import { debug, info } from './log-line.ts'
import type { EventOf, LogLine } from './log-line.ts'
import { changeText, configText, idText, progressText } from './texts.ts'

type ProgressEvent = EventOf<
  | 'progress-decreased'
  | 'snapshot-paused'
  | 'snapshot-recovered'
  | 'snapshot-reported'
  | 'unreachable'
>

export function replicationLine(x: string, event: RaftEvent): LogLine | undefined {
  return logLine(x, event) ?? membersLine(x, event) ?? progressLine(x, event)
}

function logLine(x: string, event: RaftEvent): LogLine | undefined {
  switch (event.type) {
    case 'log-conflict': {
      const { index, existingTerm, conflictingTerm } = event
      const terms = `[existing term: ${existingTerm}, conflicting term: ${conflictingTerm}]`
      return info(`found conflict at index ${index} ${terms}`)
    }
    case 'unstable-replaced':
      return info(`replace the unstable entries from index ${event.index}`)
    case 'unstable-truncated':
      return info(`truncate the unstable entries before index ${event.index}`)
    case 'append-ack-ignored':
      return ignoredAck(event)
    case 'append-rejected': {
      const { index, logTerm, from } = event.message
      return debug(
        `${x} [logterm: ${event.term}, index: ${index}] rejected MsgApp ` +
          `[logterm: ${logTerm}, index: ${index}] from ${idText(from)}`
      )
    }
    case 'restore-started':
    case 'restored':
    case 'snapshot-fast-forwarded':
    case 'snapshot-answered':
      return restoreLine(x, event)
    default:
      return undefined
  }
}

function ignoredAck({ reason, index, ackTerm, term }: EventOf<'append-ack-ignored'>): LogLine {
  switch (reason) {
    case 'missing':
      return info(`entry at index ${index} missing from unstable log; ignoring`)
    case 'snapshot':
      return info(`entry at index ${index} matched unstable snapshot; ignoring`)
    case 'term': {
      const known = `entry at (${index},${term}) in unstable log; ignoring`
      return info(`entry at (index,term)=(${index},${ackTerm}) mismatched with ${known}`)
    }
  }
}

const placeOf = ({ index, term }: Snapshot): string => `[index: ${index}, term: ${term}]`

function restoreLine(
  x: string,
  event: EventOf<'restore-started' | 'restored' | 'snapshot-fast-forwarded' | 'snapshot-answered'>
): LogLine {
  const place = placeOf(event.snapshot)
  switch (event.type) {
    case 'restore-started': {
      const { committed, applied, applying } = event.log
      const { unstableOffset, unstableOffsetInProgress, unstableCount } = event.log
      return info(
        `log [committed=${committed}, applied=${applied}, applying=${applying}, ` +
          `unstable.offset=${unstableOffset}, ` +
          `unstable.offsetInProgress=${unstableOffsetInProgress}, ` +
          `len(unstable.Entries)=${unstableCount}] starts to restore snapshot ${place}`
      )
    }
    case 'restored':
    case 'snapshot-fast-forwarded': {
      const { commit, lastIndex, lastTerm } = event
      const what = event.type === 'restored' ? 'restored' : 'fast-forwarded commit to'
      const own = `[commit: ${commit}, lastindex: ${lastIndex}, lastterm: ${lastTerm}]`
      return info(`${x} ${own} ${what} snapshot ${place}`)
    }
    case 'snapshot-answered': {
      const what = event.isRestored ? 'restored' : 'ignored'
      return info(`${x} [commit: ${event.commit}] ${what} snapshot ${place}`)
    }
  }
}

function membersLine(x: string, event: RaftEvent): LogLine | undefined {
  switch (event.type) {
    case 'config-switched':
      return info(`${x} switched to configuration ${configText(event.config)}`)
    case 'config-change-refused': {
      const change = `${changeText(event.change)} at config ${configText(event.config)}`
      return info(`${x} ignoring conf change ${change}: ${refusalText(event)}`)
    }
    case 'auto-leave': {
      const config = configText(event.config)
      return info(`initiating automatic transition out of joint configuration ${config}`)
    }
    case 'proposal-dropped':
      return droppedLine(x, event)
    default:
      return undefined
  }
}

function refusalText(event: EventOf<'config-change-refused'>): string {
  const { reason, pendingIndex, applied } = event
  switch (reason) {
    case 'unapplied':
      return `possible unapplied conf change at index ${pendingIndex} (applied to ${applied})`
    case 'joint':
      return 'must transition out of joint config first'
    case 'not-joint':
      return 'not in joint state; refusing empty conf change'
  }
}

function droppedLine(x: string, event: EventOf<'proposal-dropped'>): LogLine | undefined {
  const { term, reason, transferTo } = event
  switch (reason) {
    case 'no-leader':
      return info(`${x} no leader at term ${term}; dropping proposal`)
    case 'forwarding-off':
      return info(`${x} passes no proposal on at term ${term}; dropping proposal`)
    case 'transfer': {
      const transfer = `transfer leadership to ${idText(transferTo)} is in progress`
      return debug(`${x} [term ${term}] ${transfer}; dropping proposal`)
    }
    case 'not-member':
    case 'full':
      return undefined
  }
}

function progressLine(x: string, event: RaftEvent): LogLine | undefined {
  switch (event.type) {
    case 'append-rejection': {
      const { rejectHint, logTerm, from, index } = event.message
      const hint = `hint: (index ${rejectHint}, term ${logTerm})`
      return debug(
        `${x} received MsgAppResp(rejected, ${hint}) from ${idText(from)} for index ${index}`
      )
    }
    case 'snapshot-sent': {
      const { id, progress, firstIndex, commit, snapshot } = event
      const own = `[firstindex: ${firstIndex}, commit: ${commit}]`
      const what = `sent snapshot${placeOf(snapshot)}`
      return debug(`${x} ${own} ${what} to ${idText(id)} [${progressText(progress)}]`)
    }
    case 'snapshot-withheld':
      return debug(`ignore sending snapshot to ${idText(event.id)} since it is not recently active`)
    case 'progress-decreased':
    case 'snapshot-paused':
    case 'snapshot-recovered':
    case 'snapshot-reported':
    case 'unreachable':
      return debug(`${x} ${PROGRESS_TEXTS[event.type](idText(event.id))}${bracketed(event)}`)
    default:
      return undefined
  }
}

const bracketed = ({ progress }: ProgressEvent): string => ` [${progressText(progress)}]`

const PROGRESS_TEXTS: Readonly<Record<ProgressEvent['type'], (y: string) => string>> = {
  'progress-decreased': (y) => `decreased progress of ${y} to`,
  'snapshot-paused': (y) => `paused sending replication messages to ${y}`,
  'snapshot-recovered': (y) =>
    `recovered from needing snapshot, resumed sending replication messages to ${y}`,
  'snapshot-reported': (y) => `was told how the snapshot to ${y} ended`,
  unreachable: (y) => `failed to send message to ${y} because it is unreachable`
}
