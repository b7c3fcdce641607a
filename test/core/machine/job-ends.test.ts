import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { JOB_RAN_WELL_MS, POISON_TASK } from '../../../src/core/machine/job-loss.ts'
import { JOBS_MAX } from '../../../src/core/machine/limits.ts'
import { JOB_SUBMIT } from '../../../src/core/machine/job-calls.ts'
import {
  JobShard,
  LEASE_MS,
  POLICY,
  chain,
  done,
  failed,
  returned,
  submitArgs
} from './job-shard.ts'
import type { Tried } from './job-shard.ts'
import { Shard, codeOf } from './shard.ts'

const COUNTS = { done: 0, failed: 0, running: 0, waiting: 0 }

/** Takes tasks and does them, until there are none. */
function work(job: JobShard, worker: string, outcome = done): number[] {
  const tasks: number[] = []
  for (;;) {
    const taken = job.take(worker, 64)
    if (taken.length === 0) return tasks
    tasks.push(...taken.map(({ task }) => task))
    job.tell(worker, ...taken.map((tried) => outcome(tried)))
  }
}

describe('a poison task', () => {
  it('is given up when so many different workers were lost over it', () => {
    const job = new JobShard()
    job.submit({ count: 1, policy: { lossesMax: 3 } })
    for (const worker of ['a', 'a', 'b', 'c']) {
      expect(job.state.phase).toBe('open')
      expect(job.tasksFor(worker)).toEqual([0])
      job.recall(worker)
      job.leases.delete(worker)
      job.check()
    }
    expect(job.state).toMatchObject({ phase: 'ended', counts: { ...COUNTS, failed: 1 } })
    expect(job.tasks.get(0)).toMatchObject({
      state: 'failed',
      losses: ['a', 'b', 'c'],
      lossCount: 4,
      failures: 0,
      error: { code: POISON_TASK }
    })
  })

  it('is given up also when there are fewer workers than that', () => {
    const job = new JobShard()
    job.submit({ count: 1, policy: { lossesMax: 2 } })
    let losses = 0
    while (job.state.phase === 'open') {
      expect(job.tasksFor('a', 1)).toEqual([0])
      job.recall('a')
      job.leases.delete('a')
      losses += 1
    }
    expect(losses).toBe(8)
    job.check()
  })

  it('takes none with it that was only beside it', () => {
    const job = new JobShard()
    const poison = 7
    job.submit({ count: 40, policy: { lossesMax: 3 } })
    const workers = ['a', 'b', 'c', 'd', 'e']
    for (let turn = 0; turn < 500 && job.state.phase === 'open'; turn++) {
      const worker = workers[turn % workers.length] as string
      const taken = job.take(worker, 16)
      job.check()
      // Whoever begins with it dies before it has told of anything.
      if (taken.some(({ task }) => task === poison)) {
        job.recall(worker)
        job.leases.delete(worker)
      } else job.tell(worker, ...taken.map((tried) => done(tried)))
      job.check()
    }
    expect(job.state).toMatchObject({ phase: 'ended', counts: { ...COUNTS, done: 39, failed: 1 } })
    expect(job.tasks.get(poison)).toMatchObject({ error: { code: 'poison-task' } })
  })

  it('takes none with it that was only beside it, also when there are several', () => {
    const job = new JobShard()
    const poisons = [3, 7, 20]
    job.submit({ count: 40, policy: { lossesMax: 3 } })
    const workers = ['a', 'b', 'c', 'd', 'e']
    for (let turn = 0; turn < 500 && job.state.phase === 'open'; turn++) {
      const worker = workers[turn % workers.length] as string
      const taken = job.take(worker, 16)
      job.check()
      if (taken.some(({ task }) => poisons.includes(task))) {
        job.recall(worker)
        job.leases.delete(worker)
      } else job.tell(worker, ...taken.map((tried) => done(tried)))
    }
    expect(job.state).toMatchObject({ phase: 'ended', counts: { ...COUNTS, done: 37, failed: 3 } })
    for (const task of poisons) expect(job.tasks.get(task)).toMatchObject({ state: 'failed' })
  })

  it('that may be one is tried alone, or after a minute beside others', () => {
    const job = new JobShard()
    job.submit({ count: 9, policy: { lossesMax: 2 } })
    const keep = (worker: string): void => {
      job.shard.nowMs += 5_000
      job.tell(worker)
    }
    expect(job.tasksFor('a', 1)).toEqual([0])
    expect(job.tasksFor('b', 1)).toEqual([1])
    job.recall('a')
    job.leases.delete('a')
    // It has something, …
    expect(job.tasksFor('b', 2)).toEqual([2, 3])
    // … this one hasn't, and gets nothing besides.
    const trial = job.grant('c', 2).tasks
    expect(trial).toMatchObject([{ task: 0, isOnTrial: true }])
    expect(job.tasksFor('c', 2)).toEqual([])
    job.tell('c', returned(trial[0] as Tried))
    for (let turn = 0; turn < 11; turn++) keep('b')
    expect(job.tasksFor('b', 1)).toEqual([4])
    keep('b')
    expect(job.grant('b', 2).tasks).toMatchObject([{ task: 0, isOnTrial: true }, { task: 5 }])
    // It may have hung for long.
    expect(job.tasksFor('b', 1)).toEqual([])
    for (let turn = 0; turn < 12; turn++) keep('b')
    expect(job.tasksFor('b', 1)).toEqual([6])
    job.check()
  })

  it('a lost worker gets others first, and what was lost with it when there is nothing else', () => {
    const job = new JobShard()
    job.submit({ count: 4 })
    job.take('a', 2)
    job.recall('a')
    job.leases.delete('a')
    expect(job.tasksFor('a', 1)).toEqual([2])
    expect(job.tasksFor('a', 2)).toEqual([3])
    expect(job.tasksFor('a', 2)).toEqual([0, 1])
    job.check()
  })
})

describe('a lasting job', () => {
  /** Its one task, at one worker after the other, each lost after so long. */
  const lose = (job: JobShard, times: number, afterMs: number): void => {
    for (let time = 0; time < times && job.state.phase === 'open'; time++) {
      const worker = `w${time % 20}`
      expect(job.tasksFor(worker)).toEqual([0])
      for (let passedMs = 0; passedMs < afterMs; passedMs += LEASE_MS / 2) {
        job.shard.nowMs += LEASE_MS / 2
        job.tell(worker)
      }
      job.recall(worker)
      job.leases.delete(worker)
      job.check()
    }
  }

  it('counts losses and failures anew of a task that ran well', () => {
    const job = new JobShard()
    job.submit({ count: 1, policy: { isLasting: true, lossesMax: 3, retries: 1 } })
    lose(job, 9, JOB_RAN_WELL_MS)
    expect(job.tasks.get(0)).toMatchObject({ losses: ['w8'], lossCount: 1 })
    for (let time = 0; time < 3; time++) {
      // Until it is tried again, and the lease has ended.
      job.shard.nowMs += LEASE_MS
      job.leases.delete('a')
      const [tried] = job.take('a') as [Tried]
      for (let passedMs = 0; passedMs < JOB_RAN_WELL_MS; passedMs += LEASE_MS / 2) {
        job.shard.nowMs += LEASE_MS / 2
        job.tell('a')
      }
      job.tell('a', failed(tried))
      expect(job.tasks.get(0)).toMatchObject({ state: 'waiting', failures: 1, lossCount: 0 })
      job.check()
    }
  })

  it('gives up a task over which workers are lost soon, again and again', () => {
    const job = new JobShard()
    job.submit({ count: 1, policy: { isLasting: true, lossesMax: 3 } })
    lose(job, 2, JOB_RAN_WELL_MS)
    lose(job, 9, JOB_RAN_WELL_MS / 2)
    expect(job.state).toMatchObject({ phase: 'ended', counts: { ...COUNTS, failed: 1 } })
    expect(job.tasks.get(0)).toMatchObject({ error: { code: POISON_TASK }, lossCount: 4 })
  })

  it('is none that an entry of the first version submitted', () => {
    const job = new JobShard()
    job.shard.run({ ...JOB_SUBMIT, version: 1 }, submitArgs({ count: 1 }))
    expect(job.view.job.policy).toEqual(POLICY)
    job.check()
  })

  it('is the only kind that does', () => {
    const job = new JobShard()
    job.submit({ count: 1, policy: { lossesMax: 3 } })
    lose(job, 9, JOB_RAN_WELL_MS)
    expect(job.tasks.get(0)).toMatchObject({ state: 'failed', losses: ['w0', 'w1', 'w2'] })
  })
})

describe('stages', () => {
  it('begin when all tasks of all stages before are done', () => {
    const job = new JobShard()
    // 0 and 1, then 2 to 4 after both; 5 after the first alone.
    const stages = [
      { from: 0, to: 1, after: [] },
      { from: 1, to: 2, after: [] },
      { from: 2, to: 5, after: [0, 1] },
      { from: 5, to: 6, after: [0] }
    ]
    job.submit({ count: 6, stages })
    expect(job.view.readyCount).toBe(2)
    const [first, second] = job.take('a', 9) as [Tried, Tried]
    expect([first.task, second.task]).toEqual([0, 1])
    job.tell('a', done(first))
    expect(job.tasksFor('a', 9)).toEqual([5])
    job.tell('a', done(second))
    expect(job.tasksFor('a', 2)).toEqual([2, 3])
    expect(job.view.readyCount).toBe(1)
    expect(job.tasksFor('a', 9)).toEqual([4])
    job.check()
  })

  it('of which one before has failed never begin, and count as failed', () => {
    const job = new JobShard()
    const stages = [...chain(2, 3, 4), { from: 9, to: 11, after: [] }]
    job.submit({ count: 11, stages })
    const [first, second] = job.take('a', 2) as [Tried, Tried]
    job.tell('a', failed(first, false))
    expect(job.state.counts).toEqual({ ...COUNTS, failed: 8, running: 1 })
    job.check()
    job.tell('a', done(second))
    expect(work(job, 'a')).toEqual([9, 10])
    expect(job.state).toMatchObject({ phase: 'ended', counts: { ...COUNTS, done: 3, failed: 8 } })
    expect([...job.tasks.keys()]).toEqual([0, 1, 9, 10])
    job.check()

    // What only waited for it follows when it is tried again.
    expect(job.retry()).toEqual({ count: 1, next: undefined, phase: 'open' })
    expect(job.state.counts).toEqual({ ...COUNTS, done: 3, waiting: 1 })
    job.check()
    expect(work(job, 'a')).toEqual([0, 2, 3, 4, 5, 6, 7, 8])
    expect(job.state).toMatchObject({ phase: 'ended', counts: { ...COUNTS, done: 11 } })
    job.check()
  })
})

describe('a second attempt', () => {
  const slow = (policy = {}): { job: JobShard; tried: Tried } => {
    const job = new JobShard()
    job.submit({ count: 8, policy })
    const [tried, ...others] = job.take('a', 8) as [Tried, ...Tried[]]
    job.shard.nowMs += 1_000
    job.tell('a', ...others.map((other) => done(other, 'ok', 1_000)))
    return { job, tried }
  }
  const ask = { isSpeculativeAllowed: true }

  it('of a slow task goes to another worker, once, and the first result counts', () => {
    const { job, tried } = slow()
    // The median is 768 ms, by its bucket.
    job.shard.nowMs += 153
    expect(job.take('b', 4)).toEqual([])
    expect(job.take('a', 4, ask)).toEqual([])
    const granted = job.grant('b', 4, ask)
    expect(granted.tasks).toMatchObject([{ task: 0, attempt: 9, isSpeculative: true }])
    expect(granted.runningCount).toBe(1)
    expect(job.take('c', 4, ask)).toEqual([])
    expect(job.state.speculated).toBe(1)
    job.check()

    expect(job.tell('b', done(granted.tasks[0]!))).toEqual(['accepted'])
    expect(job.tell('a', done(tried))).toEqual(['stale'])
    expect(job.tasks.get(0)).toMatchObject({ worker: 'b', attempt: 9 })
    expect(job.state.phase).toBe('ended')
    job.check()
  })

  it('is announced to whoever gets the last tasks, or none', () => {
    const { job } = slow()
    const { tasks, nextReadyMs } = job.grant('b', 4, ask)
    // One and a half times the median of 768 ms, which it has run for 1,000.
    expect([tasks, nextReadyMs]).toEqual([[], 153])
    job.shard.nowMs += 100
    expect(job.grant('b', 4, ask).nextReadyMs).toBe(53)
    expect(job.grant('b', 4).nextReadyMs).toBeUndefined()
    // The one who has it.
    expect(job.grant('a', 4, ask).nextReadyMs).toBeUndefined()
    job.shard.nowMs += 53
    expect(job.grant('b', 4, ask).tasks).toMatchObject([{ task: 0, isSpeculative: true }])
    expect(job.grant('c', 4, ask).nextReadyMs).toBeUndefined()

    // As long as too little is done nobody knows, and asks again after as long as a task may take.
    const early = new JobShard()
    early.submit({ count: 8 })
    const [first] = early.take('a', 6)
    expect(early.grant('b', 1, ask).nextReadyMs).toBeUndefined()
    early.tell('a', done(first!, 'ok', 1_000))
    expect(early.grant('b', 1, ask)).toMatchObject({ readyCount: 0, nextReadyMs: 1_153 })
    early.check()
  })

  it('that fails or is lost leaves the first one be', () => {
    for (const end of ['fails', 'is lost', 'is lost with the first'] as const) {
      const { job, tried } = slow()
      job.shard.nowMs += 1_000
      const [second] = job.take('b', 1, ask)
      if (end === 'fails') expect(job.tell('b', failed(second!))).toEqual(['accepted'])
      else job.recall('b')
      job.check()
      expect(job.state.counts).toMatchObject({ running: 1, waiting: 0 })
      if (end === 'is lost with the first') {
        job.recall('a')
        job.check()
        expect(job.state.counts).toMatchObject({ running: 0, waiting: 1 })
        expect(job.tasks.get(0)?.losses).toEqual(['b', 'a'])
        continue
      }
      expect(job.tell('a', done(tried))).toEqual(['accepted'])
      expect(job.state.phase).toBe('ended')
      job.check()
    }
  })

  it('is not made for jobs that are not pure, early, often, or while something is ready', () => {
    const impure = slow({ isPure: false }).job
    impure.shard.nowMs += 3_000
    expect(impure.take('b', 1, ask)).toEqual([])

    const fast = slow().job
    fast.shard.nowMs += 100
    expect(fast.take('b', 1, ask)).toEqual([])

    const early = new JobShard()
    early.submit({ count: 4 })
    const taken = early.take('a', 4)
    early.shard.nowMs += 10
    early.tell('a', ...taken.slice(0, 2).map((tried) => done(tried)))
    early.shard.nowMs += 3_000
    expect(early.take('b', 1, ask)).toEqual([])
    early.tell('a', done(taken[2]!))
    expect(early.take('b', 1, ask)).toMatchObject([{ task: 3, isSpeculative: true }])
    early.check()

    // One in ten tasks.
    const often = new JobShard()
    often.submit({ count: 40 })
    const all = often.take('a', 40)
    often.tell('a', ...all.slice(0, 30).map((tried) => done(tried)))
    often.shard.nowMs += 5_000
    const seconds = Array.from({ length: 6 }, () => often.take('b', 8, ask).length)
    expect(seconds).toEqual([1, 1, 1, 1, 0, 0])
    often.check()
  })
})

describe('a cancelled job', () => {
  it('grants and takes nothing any more, and ends the leases of its workers', () => {
    const job = new JobShard()
    job.submit({ count: 5 })
    const [one, two, three] = job.take('a', 3) as [Tried, Tried, Tried]
    job.tell('a', done(one), failed(two))
    const lease = job.leases.get('a') as number
    job.shard.nowMs += 5
    expect(job.cancel()).toBe('cancelled')
    expect(job.cancel()).toBe('cancelled')
    expect(job.state).toMatchObject({
      phase: 'cancelled',
      endedMs: 5,
      counts: { ...COUNTS, done: 1, waiting: 1 }
    })
    expect(job.shard.machine.reads.lease(lease)).toBeUndefined()
    expect(job.tell('a', done(one), done(two), done(three))).toEqual(['repeated', 'stale', 'stale'])
    expect(job.grant('b', 9)).toMatchObject({ phase: 'cancelled', tasks: [], readyCount: 0 })
    expect(job.open).toEqual([])
    expect(codeOf(() => job.retry())).toBe('conflict')
    expect(job.recall('a')).toBe(0)
    job.check()
  })

  it('that has ended stays as it is', () => {
    const job = new JobShard()
    job.submit({ count: 2 })
    work(job, 'a')
    expect(job.cancel()).toBe('ended')
    expect(job.state.phase).toBe('ended')
    job.check()
  })
})

describe('what was given up', () => {
  it('is tried again as if nothing had happened, in steps', () => {
    const job = new JobShard()
    job.submit({ count: 5 })
    expect(work(job, 'a', (tried) => failed(tried, false))).toHaveLength(5)
    expect(job.state.phase).toBe('ended')
    expect(job.retry(0, 2)).toEqual({ count: 2, next: 2, phase: 'open' })
    job.check()
    expect(job.open).toHaveLength(1)
    const again = job.take('b', 64)
    expect(again).toMatchObject([
      { task: 0, attempt: 6 },
      { task: 1, attempt: 7 }
    ])
    job.tell('b', ...again.map((tried) => failed(tried, false)))
    expect(job.state.phase).toBe('ended')
    // On from where it was: what has failed again isn't tried again by the same call.
    expect(job.retry(2, 2)).toEqual({ count: 2, next: 4, phase: 'open' })
    expect(job.retry(4, 2)).toEqual({ count: 1, next: undefined, phase: 'open' })
    expect(job.retry(5, 2)).toEqual({ count: 0, next: undefined, phase: 'open' })
    expect(work(job, 'b')).toEqual([2, 3, 4])
    expect(job.state.counts).toEqual({ ...COUNTS, done: 3, failed: 2 })
    job.check()
    for (const limit of [0, 1_001])
      expect(codeOf(() => job.retry(0, limit))).toBe('invalid-argument')
  })

  it('lets those try that were unfit', () => {
    const job = new JobShard()
    job.submit({ count: 1 })
    const [tried] = job.take('a')
    job.tell('a', { kind: 'unfit', ...tried! })
    const [other] = job.take('b')
    job.tell('b', failed(other!, false))
    job.retry()
    expect(job.tasksFor('a')).toEqual([0])
    expect(job.tasks.get(0)).toMatchObject({ failures: 0, error: undefined })
    job.check()
  })
})

describe('a job that has ended', () => {
  it('is removed in steps, and its name is free then', () => {
    const job = new JobShard()
    job.submit({ count: 30 })
    const tried = job.take('a', 20)
    job.tell('a', ...tried.map((one) => done(one)))
    const [last] = job.take('a', 1)
    job.tell('a', failed(last!))
    expect(codeOf(() => job.remove())).toBe('conflict')
    job.cancel()
    expect(job.shard.machine.reads.collection.releases).toBe(0)
    expect(job.remove(10)).toBe(true)
    job.check()
    expect(job.state.isRemoved).toBe(true)
    expect(codeOf(() => job.retry())).toBe('conflict')
    expect(codeOf(() => job.submit({ count: 30 }))).toBe('conflict')
    expect(job.remove(10)).toBe(true)
    expect(job.remove(10)).toBe(false)
    expect(codeOf(() => job.remove(10))).toBe('not-found')
    expect(job.shard.machine.reads.collection.releases).toBe(3)
    expect(job.submit({ count: 7 }).isNew).toBe(true)
    job.check()
    for (const limit of [0, 1_001]) expect(codeOf(() => job.remove(limit))).toBe('invalid-argument')
  })
})

describe('bounds', () => {
  it('a shard has so many jobs and no more', () => {
    const shard = new Shard()
    const job = new JobShard()
    Object.assign(job, { shard })
    for (let count = 0; count < JOBS_MAX; count++) {
      Object.assign(shard, { space: `~job-${count}` })
      job.submit({ count: 1, spec: utf8('') })
    }
    Object.assign(shard, { space: '~more' })
    expect(codeOf(() => job.submit())).toBe('overloaded')
    Object.assign(shard, { space: '~job-7' })
    job.cancel()
    job.remove()
    Object.assign(shard, { space: '~more' })
    expect(job.submit().isNew).toBe(true)
    job.check()
  })

  it('when space is short nothing more is granted, and what was granted may end', () => {
    const job = new JobShard()
    job.submit({ count: 300 })
    const tried = job.take('a', 3)
    job.shard.configure({ quotaBytes: 65_536, retainCountMin: 5_000 })
    const other = new Shard('kv')
    Object.assign(other, { machine: job.shard.machine, log: job.shard.log })
    for (const length of [2_000, 1]) {
      while (codeOf(() => other.put('kv/a', 'x'.repeat(length))) === undefined);
    }
    expect(codeOf(() => job.take('b'))).toBe('quota-exceeded')
    expect(job.tell('a', done(tried[0]!), failed(tried[1]!))).toEqual(['accepted', 'accepted'])
    expect(job.recall('a')).toBe(1)
    expect(job.cancel()).toBe('cancelled')
    expect(job.remove()).toBe(false)
  })

  it('the largest job fits, and ends', () => {
    const job = new JobShard('x'.repeat(200))
    const stages = Array.from({ length: 256 }, (_, place) => ({
      from: place * 16,
      to: place * 16 + 16,
      after: Array.from({ length: Math.min(4, place) }, (_, at) => place - 4 + at).filter(
        (at) => at >= 0
      )
    }))
    const asked = {
      count: 4_096,
      stages,
      manifest: new Uint8Array(64),
      spec: new Uint8Array(8_192)
    }
    expect(submitArgs(asked).stages).toHaveLength(256)
    job.submit(asked)
    expect(work(job, 'w'.repeat(128))).toHaveLength(4_096)
    expect(job.state.phase).toBe('ended')
    while (job.remove());
    job.check()
  })

  it('a worker that is lost with all that it may have changes a bounded number of keys', () => {
    const job = new JobShard()
    job.submit({ count: 2_000 })
    const workers = ['a', 'b', 'c', 'd', 'e', 'f']
    for (const worker of workers) for (let time = 0; time < 4; time++) job.take(worker, 64)
    expect(job.state.counts.running).toBe(256 * workers.length)
    const { changes } = job.shard.pass(LEASE_MS)
    // As many leases as make a thousand changes; the others with the next entry.
    expect(changes.map(({ events }) => events.length)).toEqual([514, 514])
    expect(job.state.counts).toMatchObject({ running: 1_024, waiting: 512 })
    job.check()
    job.shard.pass(0)
    job.shard.pass(0)
    expect(job.state.counts).toMatchObject({ running: 0, waiting: 1_536 })
    job.check()
  })
})
