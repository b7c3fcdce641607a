// Directives that only files of this project use: what the files from outside don't reach.

import { utf8 } from '../../../../src/base/bytes.ts'
import type { Refused } from '../../../../src/core/raft/events.ts'
import type { Directive } from './data-file.ts'
import { DirectiveError, booleanOf, demandKnown, numberAt, plainWords } from './directive.ts'
import { refusalText } from './environment.ts'
import type { Environment } from './environment.ts'
import { injectMessage } from './inject.ts'

type Handler = (env: Environment, directive: Directive) => void

export const OWN_DIRECTIVES: Readonly<Record<string, Handler>> = {
  /** From now on also what the files from outside never show: refusals, reads, marks. */
  'show-all': (env) => {
    env.output.isDetailed = true
  },

  /** ID COUNT: so many ticks. */
  tick: (env, directive) => {
    const { raft } = env.replica(numberAt(directive, 0))
    for (let tick = numberAt(directive, 1); tick > 0; tick--) raft.tick()
  },

  /** ID: how far its log is. */
  'log-state': (env, directive) => {
    const { raft, storage } = env.replica(numberAt(directive, 0))
    const { committed, applying, applied, unstable, lastIndex, lastTerm } = raft.state.log
    const snapshot = unstable.snapshot === undefined ? '' : ` snapshot=${unstable.snapshot.index}`
    env.output.write(
      `last=${lastTerm}/${lastIndex} stored=${storage.lastIndex()} stable=${unstable.offset - 1} ` +
        `committed=${committed} applying=${applying} applied=${applied}${snapshot}\n`
    )
  },

  /** ID: what its state machine holds. */
  content: (env, directive) => {
    const { index, data } = env.replica(numberAt(directive, 0)).storage.snapshot()
    env.output.write(`${index}: "${new TextDecoder().decode(data)}"\n`)
  },

  /** ID: election clock and timeout, vote, and to whom leadership is being handed. */
  'election-state': (env, directive) => {
    const { state } = env.replica(numberAt(directive, 0)).raft
    const { electionElapsed, vote, transferTo, pendingConfigIndex } = state
    env.output.write(
      `elapsed=${electionElapsed} vote=${vote} transfer=${transferTo} ` +
        `pendingConfig=${pendingConfigIndex}\n`
    )
  },

  /** LEADER MEMBER: the highest commit index that it was sent. */
  'sent-commit': (env, directive) => {
    const { state } = env.replica(numberAt(directive, 0)).raft
    const progress = state.progressOf(numberAt(directive, 1))
    env.output.write(`${progress?.sentCommit ?? 'no member'}\n`)
  },

  /** ID NAME. */
  'read-index': (env, directive) => {
    const [, name = ''] = plainWords(directive)
    const { raft } = env.replica(numberAt(directive, 0))
    answer(env, raft.readIndex(utf8(name)))
  },

  /** ID DATA…: all of them in one proposal, each the data of an entry. */
  'propose-all': (env, directive) => {
    const [, ...texts] = plainWords(directive)
    answer(env, env.replica(numberAt(directive, 0)).raft.propose(texts.map(utf8)))
  },

  /** ID: it ends without a warning and starts again with what was written. */
  restart: (env, directive) => {
    const replica = env.replica(numberAt(directive, 0))
    env.forgetLocal(replica.id)
    replica.restart()
  },

  /** LEADER MEMBER success=BOOL: how the sending of a snapshot ended. */
  'report-snapshot': (env, directive) => {
    demandKnown(directive, ['success'])
    const isSuccess = booleanOf(directive, 'success')
    if (isSuccess === undefined) throw new DirectiveError('success is missing')
    const { raft } = env.replica(numberAt(directive, 0))
    raft.reportSnapshot(numberAt(directive, 1), isSuccess)
  },

  /** ID OTHER: its connection to another one broke. */
  'connection-lost': (env, directive) => {
    env.replica(numberAt(directive, 0)).raft.connectionLost(numberAt(directive, 1))
  },

  /** TYPE FROM TO and fields: puts a message on its way that no replica has sent. */
  inject: injectMessage
}

function answer(env: Environment, refused: Refused | undefined): void {
  if (refused === undefined) return
  const text = refusalText(refused) ?? refused.refusal
  env.output.write(`${text}: ${refused.problem}\n`)
}
