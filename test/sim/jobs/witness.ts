// What must hold at any time: what nodes are answered fits together, what replicas store goes its
// way, and the machine's own invariants hold on each of them.

import { fromUtf8 } from '../../../src/base/bytes.ts'
import { checkStateInvariants } from '../../../src/core/machine/invariants.ts'
import {
  JOB_COMPLETE,
  JOB_GRANT,
  type CompleteArgs,
  type CompleteResult,
  type GrantArgs,
  type GrantResult
} from '../../../src/core/machine/job-calls.ts'
import {
  START_JOB,
  type Claim,
  type StartArgs,
  type StartResult
} from '../../../src/core/machine/job-start.ts'
import type { OrderedReads } from '../../../src/core/machine/ordered-state.ts'
import { MachineReads } from '../../../src/core/machine/reads.ts'
import { stateHash } from '../../../src/core/machine/snapshot.ts'
import type { TaskRecord } from '../../../src/core/machine/job-records.ts'
import type { Node } from '../../../src/node/node.ts'
import type { Replica } from '../../../src/shard/replica.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import { demand, Violation } from '../raft/violation.ts'
import type { JobNode } from './job-node.ts'
import { ReadPairs } from './read-pairs.ts'
import { jobsOf, type SeenJob } from './seen-jobs.ts'
import type { JobsWorld } from './world.ts'

type Known = { readonly index: number; readonly jobs: ReadonlyMap<string, SeenJob> }

export class Witness {
  readonly #world: JobsWorld
  /** Who was granted an attempt at what; by job and attempt. */
  readonly #granted = new Map<string, string>()
  /** When attempts were granted on trial, as above. */
  readonly trials: Map<string, number> = new Map()
  /** The attempt of which a result was taken; by job and task. */
  readonly #taken = new Map<string, number>()
  /** When cancels were acknowledged, by job, in the order of what happened. */
  readonly #cancelled = new Map<string, number>()
  /** By group and generation. */
  readonly #known = new Map<string, Known>()
  readonly #hashes = new Map<string, string>()
  /** Up to where each replica was looked at. */
  readonly #looked = new Map<string, number>()
  #order = 0
  #violation: Error | undefined
  /** Hears that a node asks something of a job. */
  onAsked: ((node: JobNode, operation: string) => void) | undefined
  readonly counts = { grants: 0, commits: 0, stale: 0 }

  constructor(world: JobsWorld) {
    this.#world = world
  }

  /** Hears what a node asks of shards, and is answered. */
  watch(node: JobNode, made: Node): void {
    const shards: Shards = made.shards
    const execute = shards.execute.bind(shards)
    shards.execute = async (target, operation, args, options) => {
      const order = (this.#order += 1)
      this.onAsked?.(node, operation.name)
      const answer = await execute(target, operation, args, options)
      try {
        const space = target.space === undefined ? '' : fromUtf8(target.space)
        this.#answered({ space, order, name: operation.name, args, result: answer.result })
      } catch (error) {
        this.#violation ??= error as Error
      }
      return answer
    }
  }

  /** A program was told that a job is cancelled. */
  cancelled(id: string): void {
    if (!this.#cancelled.has(`~${id}`)) this.#cancelled.set(`~${id}`, (this.#order += 1))
  }

  /** @throws Violation */
  check(): void {
    if (this.#violation !== undefined) throw this.#violation
    for (const node of this.#world.ready) {
      const host = node.peer.node?.shardLayer.host
      const failure = host?.failure()
      demand('GoesOn', failure === undefined, `${node.name} failed: ${failure?.message ?? ''}`)
      for (const replica of host?.replicas() ?? []) this.#look(node, replica)
    }
  }

  #answered(call: {
    space: string
    order: number
    name: string
    args: unknown
    result: unknown
  }): void {
    const { space, order, name, args, result } = call
    if (name === JOB_GRANT.name) {
      this.#checkGrant(space, args as GrantArgs, result as GrantResult)
    } else if (name === START_JOB.name) {
      const { granted } = result as StartResult
      if (granted !== undefined) this.#checkGrant(space, (args as StartArgs).claim, granted)
    } else if (name === JOB_COMPLETE.name) {
      this.#checkVerdicts(space, order, {
        args: args as CompleteArgs,
        result: result as CompleteResult
      })
    }
  }

  #checkGrant(space: string, { worker }: Claim, { tasks }: GrantResult): void {
    const job = this.#world.plan.jobs.find(({ id }) => `~${id}` === space)
    for (const { task, attempt, isSpeculative, isOnTrial } of tasks) {
      this.counts.grants += 1
      const key = `${space}/${attempt}`
      const what = `task ${task} by ${this.#world.say(worker)}`
      const before = this.#granted.get(key)
      demand(
        'UniqueAttempts',
        before === undefined,
        `attempt ${key} is of ${before} and of ${what}`
      )
      this.#granted.set(key, what)
      if (isOnTrial) this.trials.set(key, this.#world.clock.monotonicMs())
      demand('Speculation', !isSpeculative || job?.isPure === true, `${key} is a second attempt`)
    }
  }

  #checkVerdicts(
    space: string,
    order: number,
    { args, result }: { args: CompleteArgs; result: CompleteResult }
  ): void {
    for (const [at, verdict] of result.verdicts.entries()) {
      const outcome = args.outcomes[at]
      if (verdict === 'stale' && outcome?.kind === 'done') this.counts.stale += 1
      if (verdict !== 'accepted' || outcome === undefined) continue
      const { task, attempt, kind } = outcome
      const key = `${space}/${task}`
      const cancelled = this.#cancelled.get(space) ?? Infinity
      demand('CancelEnds', order < cancelled, `attempt ${attempt} of ${key} was taken afterwards`)
      if (kind !== 'done') continue
      const before = this.#taken.get(key)
      demand('CommitOnce', before === undefined, `${key} was committed by ${before} and ${attempt}`)
      this.#taken.set(key, attempt)
      this.counts.commits += 1
    }
  }

  #look(node: JobNode, replica: Replica): void {
    const { group, generation, id, applied, hasEnded, state } = replica
    if (hasEnded || applied.index === 0) return
    const own = `${group}/${generation}/${id}`
    if (this.#looked.get(own) === applied.index) return
    this.#looked.set(own, applied.index)
    const pairs = new ReadPairs(state)
    const hash = stateHash(pairs)
    const place = `${group}/${generation}/${applied.index}`
    const other = this.#hashes.get(place)
    // What is the same was looked at already.
    if (other === undefined) checkInvariants(pairs, `${own} at ${node.name}`)
    this.#hashes.set(place, hash)
    demand('EqualStates', other === undefined || other === hash, `${node.name} differs at ${place}`)
    if (group === 0) return
    const key = `${group}/${generation}`
    const before = this.#known.get(key)
    if (before !== undefined && before.index >= applied.index) return
    const jobs = jobsOf(new MachineReads(pairs))
    for (const [job, seen] of before?.jobs ?? []) this.#compare(job, seen, jobs.get(job))
    this.#known.set(key, { index: applied.index, jobs })
  }

  /** What may become of a job. */
  #compare(id: string, before: SeenJob, after: SeenJob | undefined): void {
    if (after === undefined) throw new Violation('NoneLost', `job ${id} is gone`)
    const { state: old } = before.view
    const { state: now } = after.view
    const isMended = this.#world.tasks.mended.has(id)
    demand('AttemptsGrow', now.attempts >= old.attempts, `job ${id} counts attempts backwards`)
    const isSame = old.phase === now.phase || old.phase === 'open'
    const isReopened = old.phase === 'ended' && now.phase === 'open' && isMended
    demand('Phases', isSame || isReopened, `job ${id} was ${old.phase} and is ${now.phase}`)
    const isAsBefore = old.phase !== 'cancelled' || now.counts.done === old.counts.done
    demand('CancelEnds', isAsBefore, `something of ${id} was taken after it was cancelled`)
    for (const [task, record] of before.tasks) {
      const later = after.tasks.get(task)
      const name = `task ${task} of ${id}`
      if (later === undefined) throw new Violation('NoneLost', `${name} is forgotten`)
      demand('AttemptsGrow', later.granted >= record.granted, `${name} counts attempts backwards`)
      checkFence(name, after.view.job.policy.isPure, { before: record, later })
      if (record.state === 'done') demand('CommitOnce', isEqual(record, later), `${name} changed`)
      else if (record.state === 'failed') {
        const may = later.state === 'failed' || isMended
        demand('EndOnce', may, `${name} was given up and is ${later.state}`)
      }
    }
  }
}

/** @throws Violation */
function checkInvariants(state: OrderedReads, what: string): void {
  try {
    checkStateInvariants(state)
  } catch (error) {
    throw new Violation('Machine', `${what}: ${String(error)}`)
  }
}

/** What became of an attempt that was over counts for nothing, but for a result that may be late. */
function checkFence(
  name: string,
  isPure: boolean,
  { before, later }: { readonly before: TaskRecord; readonly later: TaskRecord }
): void {
  const { attempt, state } = later
  if (attempt === before.attempt || attempt > before.granted) return
  const isLive = before.holders.some((holder) => holder.attempt === attempt)
  const may = isLive || attempt === 0 || (isPure && state === 'done')
  demand('Fenced', may, `${name}: attempt ${attempt} was over, and was taken as ${state}`)
}

function isEqual(a: TaskRecord, b: TaskRecord): boolean {
  return JSON.stringify(plain(a)) === JSON.stringify(plain(b))
}

function plain({ state, attempt, worker, granted, result }: TaskRecord): unknown {
  const bytes = result?.kind === 'inline' ? [...result.value] : [...(result?.cid ?? [])]
  return { state, attempt, worker, granted, bytes }
}
