// Bugs that implementations of Raft have had, or could have, each one small change of the source.
// `run.ts` shows that the tests find them all.

export type Mutant = {
  readonly name: string
  /** A file of src/core/raft. */
  readonly file: string
  /** Text that occurs exactly once in the file, and what takes its place. */
  readonly from: string
  readonly to: string
}

const elections: readonly Mutant[] = [
  {
    name: 'a voter votes twice in a term',
    file: 'election.ts',
    from: '    raft.vote === from ||\n    (raft.vote === NO_REPLICA && raft.leader === NO_REPLICA) ||',
    to: '    raft.vote === from || raft.leader === NO_REPLICA ||'
  },
  {
    name: 'a vote is not recorded',
    file: 'election.ts',
    from: '    raft.vote = from\n',
    to: ''
  },
  {
    name: 'a trial vote is recorded as a vote',
    file: 'election.ts',
    from: "  if (kind === 'vote') {\n    raft.electionElapsed = 0",
    to: '  {\n    raft.electionElapsed = 0'
  },
  {
    name: 'votes go to any candidate, whatever its log',
    file: 'election.ts',
    from: ' || !raft.log.isUpToDate(index, logTerm)',
    to: ''
  },
  {
    name: 'logs are compared by length alone',
    file: 'log.ts',
    from: 'return lastTerm > own || (lastTerm === own && lastIndex >= this.lastIndex)',
    to: 'return lastTerm >= 0 && own >= 0 && lastIndex >= this.lastIndex'
  },
  {
    name: 'an equal log is not good enough',
    file: 'log.ts',
    from: '(lastTerm === own && lastIndex >= this.lastIndex)',
    to: '(lastTerm === own && lastIndex > this.lastIndex)'
  },
  {
    name: 'a vote is answered before it is durable',
    file: 'state.ts',
    from: "  'vote-response',\n",
    to: ''
  },
  {
    name: 'the term changes and the vote stays',
    file: 'state.ts',
    from: '      this.vote = NO_REPLICA\n',
    to: ''
  },
  {
    name: 'the vote goes at every change of role',
    file: 'state.ts',
    from: '    if (this.term !== term) {\n',
    to: '    {\n'
  },
  {
    name: 'votes of an earlier campaign count on',
    file: 'state.ts',
    from: '    this.votes.clear()\n',
    to: ''
  },
  {
    name: 'the last answer of a member counts, not the first',
    file: 'election.ts',
    from: '  if (!raft.votes.has(from)) raft.votes.set(from, !reject)',
    to: '  raft.votes.set(from, !reject)'
  },
  {
    name: 'half of the voters are a majority',
    file: 'quorum.ts',
    from: 'return Math.floor(count / 2) + 1',
    to: 'return Math.ceil(count / 2)'
  },
  {
    name: 'joint: one majority elects',
    file: 'quorum.ts',
    from: "return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending'",
    to: "return incoming === 'won' || outgoing === 'won' ? 'won' : 'pending'"
  },
  {
    name: 'joint: one majority commits',
    file: 'quorum.ts',
    from: '  return Math.min(\n',
    to: '  return (voters.outgoing.length === 0 ? Math.min : Math.max)(\n'
  },
  {
    name: 'a campaign starts with a committed change that is not applied',
    file: 'election.ts',
    from: "return hasUnappliedChange(raft) ? 'unapplied' : undefined",
    to: 'return undefined'
  },
  {
    name: 'a campaign starts while a snapshot waits',
    file: 'state.ts',
    from: ' && this.log.unstable.snapshot === undefined',
    to: ''
  },
  {
    name: 'learners campaign',
    file: 'state.ts',
    from: 'own !== undefined && !own.isLearner &&',
    to: 'own !== undefined &&'
  },
  {
    name: 'a replica without members votes',
    file: 'election.ts',
    from: '!isFree || isBlank ||',
    to: '!isFree ||'
  },
  {
    name: 'a trial raises the term',
    file: 'roles.ts',
    from: "  raft.votes.clear()\n  raft.leader = NO_REPLICA\n  enter(raft, 'pre-candidate')",
    to: "  raft.reset(raft.term + 1)\n  enter(raft, 'pre-candidate')"
  },
  {
    name: 'the lease is not respected',
    file: 'step.ts',
    from: 'if (isVote && !message.isTransfer && isInLease(raft)) {',
    to: 'if (isVote && !message.isTransfer && isInLease(raft) && raft.term < 0) {'
  },
  {
    name: 'a transfer waits for the lease of the leader that ordered it',
    file: 'step.ts',
    from: 'isVote && !message.isTransfer && isInLease',
    to: 'isVote && isInLease'
  },
  {
    name: 'a leader without a quorum leads on',
    file: 'election.ts',
    from: "    raft.trace?.({ type: 'quorum-lost' })\n    becomeFollower(raft, raft.term, NO_REPLICA)\n",
    to: "    raft.trace?.({ type: 'quorum-lost' })\n"
  },
  {
    name: 'a candidate does not yield to the leader of its term',
    file: 'step.ts',
    from: '    becomeFollower(raft, raft.term, from)\n',
    to: '    return undefined\n'
  },
  {
    name: 'a stale leader is not told of the new term',
    file: 'step.ts',
    from: "    raft.send({ type: 'append-response', to: from })\n",
    to: ''
  },
  {
    name: 'messages of an earlier term are taken for present ones',
    file: 'step.ts',
    from: '  if (term < raft.term) {\n',
    to: '  if (term < raft.term - 1) {\n'
  }
]

const replication: readonly Mutant[] = [
  {
    name: 'figure 8: entries of earlier terms are committed by counting',
    file: 'replication.ts',
    from: 'if (index <= log.committed || !log.matches(index, raft.term)) return false',
    to: 'if (index <= log.committed) return false'
  },
  {
    name: 'a follower commits past what was matched',
    file: 'follower.ts',
    from: 'log.commitTo(Math.min(commit, lastIndex))',
    to: 'log.commitTo(Math.min(commit, log.lastIndex))'
  },
  {
    name: 'a heartbeat commits past what was matched',
    file: 'replication.ts',
    from: 'const commit = Math.min(progress.match, raft.log.committed)',
    to: 'const commit = raft.log.committed'
  },
  {
    name: 'every append cuts the log',
    file: 'log.ts',
    from: '    if (conflict === -1) return',
    to: '    if (conflict === -1 && lastIndex === this.lastIndex) return'
  },
  {
    name: 'a conflict is not cut off',
    file: 'log.ts',
    from: 'entries.findIndex(({ index, term }) => !this.matches(index, term))',
    to: 'entries.findIndex(({ index }) => index > this.lastIndex)'
  },
  {
    name: 'an append is taken wherever it follows',
    file: 'log.ts',
    from: '    if (!this.matches(prevIndex, prevTerm)) return undefined\n',
    to: '    if (prevIndex > this.lastIndex) return undefined\n'
  },
  {
    name: 'an append is acknowledged with all that the log has',
    file: 'follower.ts',
    from: "raft.send({ type: 'append-response', to, index: lastIndex })",
    to: "raft.send({ type: 'append-response', to, index: log.lastIndex })"
  },
  {
    name: 'appends are acknowledged before they are durable',
    file: 'state.ts',
    from: "  'append-response',\n",
    to: ''
  },
  {
    name: 'a leader counts itself before its log has it',
    file: 'roles.ts',
    from: "  raft.send({ type: 'append-response', to: raft.id, index })\n",
    to: '  raft.progressOf(raft.id)?.acknowledge(index)\n'
  },
  {
    name: 'a leader opens its term without an entry',
    file: 'roles.ts',
    from: "const isTaken = appendOwn(raft, [{ type: 'normal', term: 0, index: 0, data: NO_BYTES }])",
    to: 'const isTaken = appendOwn(raft, [])'
  },
  {
    name: 'a new leader keeps what it knew of the others',
    file: 'progress.ts',
    from: '    this.match = match\n    this.next = next\n    this.isActive = false',
    to: '    this.match = Math.max(this.match, match)\n    this.next = Math.max(next, this.match + 1)\n    this.isActive = false'
  },
  {
    name: 'an old refusal moves a member back',
    file: 'progress.ts',
    from: '      if (rejected !== this.next - 1) return false\n',
    to: ''
  },
  {
    name: 'a refusal moves a member below what it has',
    file: 'progress.ts',
    from: 'this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1)',
    to: 'this.next = Math.max(Math.min(rejected, hint + 1) - 1, 1)'
  },
  {
    name: 'a lost window is never sent again',
    file: 'replication.ts',
    from: '  progress.isPaused = false\n  if (progress.match < raft.log.lastIndex',
    to: '  if (progress.match < raft.log.lastIndex'
  },
  {
    name: 'the window has no end',
    file: 'progress.ts',
    from: 'return this.count >= this.#countMax || this.#bytes >= this.#bytesMax',
    to: 'return this.count >= this.#countMax * 1000'
  },
  {
    name: 'learners count for the commit',
    file: 'reconfigure.ts',
    from: 'raft.voters = { incoming: config.voters, outgoing: config.votersOutgoing }',
    to: 'raft.voters = { incoming: [...config.voters, ...config.learners], outgoing: config.votersOutgoing }'
  },
  {
    name: 'asynchronous: entries are applied before they are durable',
    file: 'log.ts',
    from: 'return withUnstable ? this.committed : Math.min(this.committed, this.unstable.offset - 1)',
    to: 'return withUnstable ? this.committed : this.committed'
  },
  {
    name: 'asynchronous: an acknowledgement of an earlier term counts (ABA)',
    file: 'storage-answers.ts',
    from: 'if (index > 0 && term < raft.term) {',
    to: 'if (index > 0 && term < 0) {'
  },
  {
    name: 'asynchronous: an acknowledgement counts whatever its term',
    file: 'unstable.ts',
    from: '    if (known !== term) {',
    to: '    if (known < 0) {'
  },
  {
    name: 'asynchronous: entries that were replaced are not written again',
    file: 'unstable.ts',
    from: '      this.offset = from\n      this.offsetInProgress = from\n',
    to: '      this.offset = from\n'
  },
  {
    name: 'asynchronous: entries that were cut are not written again',
    file: 'unstable.ts',
    from: '      this.offsetInProgress = Math.min(this.offsetInProgress, from)\n',
    to: ''
  }
]

const recovery: readonly Mutant[] = [
  {
    name: 'a restart forgets the vote',
    file: 'state.ts',
    from: '    this.vote = hardState.vote\n',
    to: '    this.vote = NO_REPLICA\n'
  },
  {
    name: 'a restart forgets the term',
    file: 'state.ts',
    from: '    this.term = hardState.term\n',
    to: '    this.term = this.log.lastTerm\n'
  },
  {
    name: 'a restart applies again what was applied',
    file: 'state.ts',
    from: '    this.log.appliedTo(applied, 0)\n',
    to: ''
  },
  {
    name: 'a late append is taken although all of it is committed',
    file: 'follower.ts',
    from: '  if (index < log.committed) {',
    to: '  if (index < 0) {'
  },
  {
    name: 'a lost election leaves a candidate',
    file: 'election.ts',
    from: "    case 'lost':\n      becomeFollower(raft, raft.term, NO_REPLICA)\n      break",
    to: "    case 'lost':\n      break"
  },
  {
    name: 'with trial votes alone a stale leader is not told of the new term',
    file: 'step.ts',
    from: "if ((checkQuorum || preVote) && (type === 'append'",
    to: "if (checkQuorum && preVote && (type === 'append'"
  },
  {
    name: 'a refused trial vote is not answered when it is old',
    file: 'step.ts',
    from: "    rejectVote(raft, message, 'pre-vote')\n",
    to: ''
  },
  {
    name: 'what is sent of the commit index counts although it was refused',
    file: 'progress.ts',
    from: '    this.sentCommit = Math.min(this.sentCommit, this.next - 1)\n',
    to: ''
  },
  {
    name: 'a member that lacks only the commit index is not told',
    file: 'replication.ts',
    from: '  if (!isCommitted && !isLate && lacksCommit(raft, progress)) sendAppend(raft, message.from, true)\n',
    to: ''
  },
  {
    name: 'a change of members is told late too',
    file: 'replication.ts',
    from: ' && committed > raft.pendingConfigIndex',
    to: ''
  },
  {
    name: 'a commit index that was not told at once is never told',
    file: 'replication.ts',
    from: '  raft.forEachPeer((id) => tellCommitTo(raft, id))\n',
    to: ''
  },
  {
    name: 'followers that lose their leader all campaign at once',
    file: 'election.ts',
    from: '    raft.electionElapsed = Math.max(raft.electionElapsed, elapsed)\n',
    to: '    campaign(raft)\n'
  },
  {
    name: 'a follower that loses its leader waits',
    file: 'election.ts',
    from: '  raft.leader = NO_REPLICA\n  const others',
    to: '  const others'
  },
  {
    name: 'two leaders of one term are both believed',
    file: 'step.ts',
    from: "  if (isOther && type !== 'snapshot') {",
    to: "  if (isOther && type !== 'snapshot' && raft.term < 0) {"
  },
  {
    name: 'anybody may order an election',
    file: 'transfer.ts',
    from: '  if (raft.leader !== NO_REPLICA && raft.leader !== from) {',
    to: '  if (raft.leader !== NO_REPLICA && raft.leader !== from && raft.term < 0) {'
  }
]

const snapshots: readonly Mutant[] = [
  {
    name: 'a snapshot overtakes what is being applied',
    file: 'follower.ts',
    from: '  if (log.applying > log.applied) return false\n',
    to: ''
  },
  {
    name: 'an old snapshot replaces a newer log',
    file: 'follower.ts',
    from: '  if (snapshot.index <= log.committed) return false\n',
    to: ''
  },
  {
    name: 'a snapshot cuts off what comes after it',
    file: 'follower.ts',
    from: '  if (log.matches(snapshot.index, snapshot.term)) {',
    to: '  if (log.matches(snapshot.index, snapshot.term) && snapshot.index < 0) {'
  },
  {
    name: 'a snapshot leaves the members as they were',
    file: 'follower.ts',
    from: '  installMembers(raft, restoreMembers(snapshot.configState, base))\n',
    to: '  restoreMembers(snapshot.configState, base)\n'
  },
  {
    name: 'entries are applied while a snapshot waits',
    file: 'log.ts',
    from: 'if (this.#isApplyingPaused || this.unstable.snapshot !== undefined) return false',
    to: 'if (this.#isApplyingPaused) return false'
  },
  {
    name: 'after a snapshot a member is sent entries that do not follow',
    file: 'replication.ts',
    from: '} else if (progress.match + 1 >= raft.log.firstIndex) {',
    to: '} else {'
  },
  {
    name: 'a failed snapshot is never sent again',
    file: 'replication.ts',
    from: '  progress.becomeProbe()\n  progress.isPaused = true\n',
    to: ''
  },
  {
    name: 'after a snapshot the write mark is not moved',
    file: 'unstable.ts',
    from: '    this.offset = snapshot.index + 1\n    this.offsetInProgress = this.offset\n',
    to: '    this.offset = snapshot.index + 1\n'
  }
]

const members: readonly Mutant[] = [
  {
    name: 'two changes are in flight',
    file: 'proposal.ts',
    from: "  if (pendingIndex > raft.log.applied) return 'unapplied'\n",
    to: ''
  },
  {
    name: 'a new leader forgets a pending change',
    file: 'roles.ts',
    from: '  raft.pendingConfigIndex = raft.log.lastIndex\n',
    to: ''
  },
  {
    name: 'two changes in one proposal',
    file: 'proposal.ts',
    from: '      pendingIndex = raft.log.lastIndex + entries.length\n',
    to: ''
  },
  {
    name: 'a change is made while joint',
    file: 'proposal.ts',
    from: "  if (isNowJoint && !isLeave(change)) return 'joint'\n",
    to: ''
  },
  {
    name: 'two voters change at once without a joint configuration',
    file: 'config-change.ts',
    from: "if (change.transition === 'auto' && change.steps.length <= 1) return undefined",
    to: "if (change.transition === 'auto') return undefined"
  },
  {
    name: 'a joint configuration is never left',
    file: 'proposal.ts',
    from: "  if (raft.role !== 'leader' || !config.autoLeave) return\n",
    to: "  if (raft.role !== 'leader' || config.voters.length > 0) return\n"
  },
  {
    name: 'a joint configuration is left before it is applied',
    file: 'proposal.ts',
    from: '  if (raft.log.applied < raft.pendingConfigIndex) return\n',
    to: ''
  },
  {
    name: 'a demoted voter loses its vote before the joint configuration is left',
    file: 'config-change.ts',
    from: '    if (this.outgoing.has(id)) {\n      this.learnersNext.add(id)\n      return\n    }\n',
    to: ''
  },
  {
    name: 'a leader that was removed leads on',
    file: 'reconfigure.ts',
    from: '    if (raft.config.stepDownOnRemoval) becomeFollower(raft, raft.term, NO_REPLICA)\n',
    to: ''
  },
  {
    name: 'fewer voters do not commit what they have',
    file: 'reconfigure.ts',
    from: '  if (tryCommit(raft)) broadcastAppend(raft)\n  else raft',
    to: '  raft'
  },
  {
    name: 'proposals are taken during a transfer',
    file: 'proposal.ts',
    from: "  if (raft.transferTo !== NO_REPLICA) return drop(raft, 'transfer')\n",
    to: ''
  },
  {
    name: 'a transfer is never given up',
    file: 'raft.ts',
    from: "      if (raft.role === 'leader') abortTransfer(raft)\n",
    to: ''
  },
  {
    name: 'a transfer does not wait until the target has everything',
    file: 'transfer.ts',
    from: '  if (raft.progressOf(id)?.match === raft.log.lastIndex) sendTimeoutNow',
    to: '  sendTimeoutNow'
  }
]

const reads: readonly Mutant[] = [
  {
    name: 'a read is answered without a quorum',
    file: 'read-index.ts',
    from: '  const sequence = jointCommitted(raft.voters, (id) => raft.reads.confirmedBy(id))\n',
    to: '  const sequence = raft.reads.confirmedBy(raft.id) ?? 0\n'
  },
  {
    name: 'a read is answered before the first commit of the term',
    file: 'read-index.ts',
    from: '  if (!isTermCommitted(raft)) raft.reads.postpone(read)\n  else admit(raft, read)',
    to: '  admit(raft, read)'
  },
  {
    name: 'any answered heartbeat confirms every read',
    file: 'read-index.ts',
    from: '  if (readSequence === 0) return undefined\n  if (!raft.reads.confirm(from, readSequence)) {',
    to: '  if (!raft.reads.confirm(from, raft.reads.newest)) {'
  },
  {
    name: 'reads of an earlier term are confirmed in a later one',
    file: 'state.ts',
    from: '    this.reads.clear()\n',
    to: ''
  },
  {
    name: 'a read is answered with the end of the log',
    file: 'read-index.ts',
    from: 'const confirmed = { ...read, index: raft.log.committed }',
    to: 'const confirmed = { ...read, index: raft.log.applied - 1 }'
  },
  {
    name: 'a read that waits for a member which is gone waits forever',
    file: 'reconfigure.ts',
    from: '  answerConfirmed(raft)\n',
    to: ''
  },
  {
    name: 'a lease lets a follower vote',
    file: 'raft.ts',
    from: "    if (raft.config.readMode === 'lease') {",
    to: "    if (raft.config.readMode === 'lease' && raft.term < 0) {"
  }
]

const limits: readonly Mutant[] = [
  {
    name: 'proposals have no limit',
    file: 'roles.ts',
    from: '  if (bytes > 0 && isFull) return false\n',
    to: ''
  },
  {
    name: 'what was committed makes no room for proposals',
    file: 'storage-answers.ts',
    from: '  raft.uncommittedBytes = Math.max(0, raft.uncommittedBytes - payload)\n',
    to: ''
  },
  {
    name: 'reads have no limit',
    file: 'read-index.ts',
    from: 'if (raft.reads.count >= raft.config.pendingReadsMax) {',
    to: 'if (raft.reads.count >= raft.config.pendingReadsMax * 1000) {'
  },
  {
    name: 'the limit of handed out entries is not kept',
    file: 'log.ts',
    from: '    this.#applyingBytes += bytesOf(entries)\n',
    to: ''
  },
  {
    name: 'an acknowledgement beyond the log is believed',
    file: 'step.ts',
    from: '  if (message.index > lastIndex) {',
    to: '  if (message.index > lastIndex + 1_000_000) {'
  },
  {
    name: 'a commit index beyond the log is believed',
    file: 'follower.ts',
    from: '  if (commit > raft.log.lastIndex) {',
    to: '  if (commit > raft.log.lastIndex + 1_000_000) {'
  },
  {
    name: 'a message is believed whatever is in it',
    file: 'step.ts',
    from: "  if (problem !== undefined) return { refusal: 'malformed', problem }\n",
    to: ''
  },
  {
    name: 'answers of strangers count',
    file: 'step.ts',
    from: '  if (RESPONSES.has(message.type) && raft.progressOf(message.from) === undefined) {',
    to: '  if (RESPONSES.has(message.type) && message.from === 0) {'
  }
]

export const MUTANTS: readonly Mutant[] = [
  ...elections,
  ...replication,
  ...recovery,
  ...snapshots,
  ...members,
  ...reads,
  ...limits
]
