// The log line that belongs to an event of a core, as data files show it: elections, terms, votes.

import type { RaftEvent } from '../../../../src/core/raft/events.ts'
import type { ReplicaId } from '../../../../src/core/raft/messages.ts'
import { debug, info, warn } from './log-line.ts'
import type { EventOf, LogLine } from './log-line.ts'
import { replicationLine } from './replication-text.ts'
import { idText, messageName } from './texts.ts'

type VoteEvent = EventOf<'vote-cast' | 'vote-rejected' | 'vote-ignored'>

/**
 * @param self the replica that tells of the event
 * @returns undefined when nothing is logged
 */
export function eventLine(self: ReplicaId, event: RaftEvent): LogLine | undefined {
  const x = idText(self)
  return electionLine(x, event) ?? voteLine(x, event) ?? replicationLine(x, event)
}

function electionLine(x: string, event: RaftEvent): LogLine | undefined {
  switch (event.type) {
    case 'became':
      return info(`${x} became ${event.role} at term ${event.term}`)
    case 'started':
      return startedLine(x, event)
    case 'campaign-refused':
      return refusedCampaign(x, event.reason)
    case 'election-started':
      return info(`${x} is starting a new election at term ${event.term}`)
    case 'leader-forgotten':
      return info(`${x} forgetting leader ${idText(event.leader)} at term ${event.term}`)
    case 'forget-leader-refused':
      return { level: 'ERROR', text: 'ignoring MsgForgetLeader due to ReadOnlyLeaseBased' }
    case 'quorum-lost':
      return warn(`${x} stepped down to follower since quorum is not active`)
    case 'transfer-started':
      return info(`${x} [term ${event.term}] starts to transfer leadership to ${idText(event.to)}`)
    case 'timeout-now-sent':
      return sentTimeoutNow(x, event)
    case 'timeout-now-received':
      return info(
        `${x} [term ${event.term}] received MsgTimeoutNow from ${idText(event.from)}` +
          ' and starts an election to get leadership.'
      )
    default:
      return termLine(x, event)
  }
}

function startedLine(x: string, event: EventOf<'started'>): LogLine {
  const { voters, term, commit, applied, lastIndex, lastTerm } = event
  const peers = voters.map(idText).join(',')
  return info(
    `newRaft ${x} [peers: [${peers}], term: ${term}, commit: ${commit}, applied: ${applied}, ` +
      `lastindex: ${lastIndex}, lastterm: ${lastTerm}]`
  )
}

function refusedCampaign(x: string, reason: EventOf<'campaign-refused'>['reason']): LogLine {
  if (reason === 'leader') return debug(`${x} ignoring MsgHup because already leader`)
  if (reason === 'unpromotable') return warn(`${x} is unpromotable and can not campaign`)
  return warn(`${x} has a change of members to apply and can not campaign`)
}

function sentTimeoutNow(x: string, { to, reason }: EventOf<'timeout-now-sent'>): LogLine {
  const y = idText(to)
  return reason === 'at-once'
    ? info(`${x} sends MsgTimeoutNow to ${y} immediately as ${y} already has up-to-date log`)
    : info(`${x} sent MsgTimeoutNow to ${y} after received MsgAppResp`)
}

function termLine(x: string, event: RaftEvent): LogLine | undefined {
  switch (event.type) {
    case 'higher-term':
    case 'lower-term': {
      const { type, from, term } = event.message
      const isHigher = event.type === 'higher-term'
      return info(
        `${x} [term: ${event.term}] ${isHigher ? 'received' : 'ignored'} a ${messageName(type)} ` +
          `message with ${isHigher ? 'higher' : 'lower'} term from ${idText(from)} [term: ${term}]`
      )
    }
    case 'stale-append-ack':
      return info(
        `${x} [term: ${event.term}] ignored entry appends from a MsgStorageAppendResp message ` +
          `with lower term [term: ${event.ackTerm}]`
      )
    default:
      return undefined
  }
}

function voteLine(x: string, event: RaftEvent): LogLine | undefined {
  switch (event.type) {
    case 'vote-requested': {
      const { kind, to, term, lastTerm, lastIndex } = event
      return info(
        `${x} [logterm: ${lastTerm}, index: ${lastIndex}] sent ${messageName(kind)} request to ` +
          `${idText(to)} at term ${term}`
      )
    }
    case 'vote-received': {
      const { kind, from, term, reject } = event
      const name = messageName(`${kind}-response`)
      return info(
        `${x} received ${name}${reject ? ' rejection' : ''} from ${idText(from)} at term ${term}`
      )
    }
    case 'votes-counted': {
      const { kind, granted, rejected } = event
      const name = messageName(`${kind}-response`)
      return info(`${x} has received ${granted} ${name} votes and ${rejected} vote rejections`)
    }
    case 'vote-cast':
    case 'vote-rejected':
    case 'vote-ignored':
      return weighedLine(x, event)
    default:
      return undefined
  }
}

function weighedLine(x: string, event: VoteEvent): LogLine {
  const { kind, from, term, lastTerm, lastIndex, vote, candidateTerm, candidateIndex } = event
  const name = messageName(kind)
  const y = idText(from)
  const own = `${x} [logterm: ${lastTerm}, index: ${lastIndex}, vote: ${idText(vote)}]`
  const theirs = `[logterm: ${candidateTerm}, index: ${candidateIndex}] at term ${term}`
  switch (event.type) {
    case 'vote-cast':
      return info(`${own} cast ${name} for ${y} ${theirs}`)
    case 'vote-rejected':
      return info(`${own} rejected ${name} from ${y} ${theirs}`)
    case 'vote-ignored': {
      const { remainingTicks } = event
      const reason = `lease is not expired (remaining ticks: ${remainingTicks})`
      return info(`${own} ignored ${name} from ${y} ${theirs}: ${reason}`)
    }
  }
}
