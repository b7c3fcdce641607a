import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { CYCLE } from '../../../src/core/machine/file-collection.ts'
import type { TaskOutcome } from '../../../src/core/machine/job-calls.ts'
import { KEEP_ALIVE } from '../../../src/core/machine/own-operations.ts'
import {
  JobShard,
  LEASE_MS,
  blocked,
  chain,
  done,
  failed,
  lost,
  returned,
  unfit
} from './job-shard.ts'
import { codeOf } from './shard.ts'

const COUNTS = { done: 0, failed: 0, running: 0, waiting: 0 }

describe('start', () => {
  it('makes a job and grants its first tasks with one entry', () => {
    const job = new JobShard()

    const { submitted, granted } = job.start('a', { count: 3 }, 2)

    expect(submitted).toEqual({ isNew: true, phase: 'open' })
    expect(granted).toMatchObject({ lease: 1, readyCount: 1, runningCount: 2 })
    expect(granted?.tasks.map(({ task, attempt }) => [task, attempt])).toEqual([
      [0, 1],
      [1, 2]
    ])
    expect(job.shard.machine.revision).toBe(1)
    job.check()
    expect(job.tell('a', ...(granted?.tasks ?? []).map((task) => done(task)))).toEqual([
      'accepted',
      'accepted'
    ])
    expect(job.tasksFor('b')).toEqual([2])
    job.check()
  })

  it('grants nothing of a job that was there already', () => {
    const job = new JobShard()
    job.submit({ count: 3 })

    const { submitted, granted } = job.start('a', { count: 3 }, 2)

    expect([submitted, granted]).toEqual([{ isNew: false, phase: 'open' }, undefined])
    expect(job.state.counts).toEqual(COUNTS)
    expect(codeOf(() => job.start('a', { count: 4 }))).toBe('exists')
  })

  it('makes no job when what is claimed is refused', () => {
    const job = new JobShard()

    expect(codeOf(() => job.start('a', { count: 3 }, 65))).toBe('invalid-argument')
    expect(job.submit({ count: 3 }).isNew).toBe(true)
  })

  it('loses what was granted with the lease, as after any grant', () => {
    const job = new JobShard()
    job.start('a', { count: 1 })

    job.pass(LEASE_MS)

    expect(job.tasksFor('b')).toEqual([0])
    job.check()
  })
})

describe('a job', () => {
  it('is submitted, granted, done and ended', () => {
    const job = new JobShard()
    expect(job.submit({ count: 3 })).toEqual({ isNew: true, phase: 'open' })
    expect(job.view).toMatchObject({ readyCount: 3, nextReadyMs: undefined })

    const granted = job.grant('a', 2)
    expect(granted).toEqual({
      lease: 2,
      tasks: [
        { task: 0, attempt: 1, isSpeculative: false, isOnTrial: false },
        { task: 1, attempt: 2, isSpeculative: false, isOnTrial: false }
      ],
      readyCount: 1,
      nextReadyMs: undefined,
      phase: 'open',
      runningCount: 2
    })
    expect(job.state.counts).toEqual({ ...COUNTS, running: 2 })
    expect(job.tasks.size).toBe(0)
    job.check()

    const [first, second] = granted.tasks
    expect(job.complete('a', [done(first!, 'one', 8), done(second!, 'two', 8)])).toEqual({
      verdicts: ['accepted', 'accepted'],
      phase: 'open',
      liveCount: 0
    })
    expect(job.tasks.get(0)).toMatchObject({
      state: 'done',
      attempt: 1,
      worker: 'a',
      durationMs: 8,
      result: { kind: 'inline', value: utf8('one') }
    })
    expect(job.open).toHaveLength(1)
    expect(job.open[0]).toMatchObject({ readyCount: 1, medianMs: 10 })
    job.check()

    const [third] = job.take('b')
    job.shard.nowMs += 50
    expect(job.complete('b', [done(third!)])).toMatchObject({ phase: 'ended' })
    expect(job.state).toMatchObject({ phase: 'ended', endedMs: 50, counts: { ...COUNTS, done: 3 } })
    expect(job.open).toEqual([])
    expect(job.workers).toEqual([])
    expect(job.grant('c')).toMatchObject({ phase: 'ended', tasks: [], lease: 0 })
    // Nobody holds a lease on it.
    expect(job.shard.machine.dueMs).toBeUndefined()
    job.check()
  })

  it('that is the same is attached to, one that differs is refused', () => {
    const job = new JobShard()
    job.submit({ count: 3 })
    job.shard.nowMs += 5
    expect(job.submit({ count: 3 })).toEqual({ isNew: false, phase: 'open' })
    for (const other of [{ count: 4 }, { spec: utf8('other') }, { policy: { retries: 4 } }]) {
      expect(codeOf(() => job.submit({ count: 3, ...other }))).toBe('exists')
    }
    job.cancel()
    expect(job.submit({ count: 3 })).toEqual({ isNew: false, phase: 'cancelled' })
    job.check()
  })

  it('is refused with what it must be when it is malformed', () => {
    const malformed = [
      { count: 0, stages: [] },
      { count: 4_097, stages: chain(4_097) },
      { count: 3, stages: chain(2) },
      { count: 3, stages: [{ from: 1, to: 3, after: [] }] },
      {
        count: 3,
        stages: [
          { from: 0, to: 0, after: [] },
          { from: 0, to: 3, after: [] }
        ]
      },
      {
        count: 2,
        stages: [
          { from: 0, to: 1, after: [0] },
          { from: 1, to: 2, after: [] }
        ]
      },
      {
        count: 2,
        stages: [
          { from: 0, to: 1, after: [1] },
          { from: 1, to: 2, after: [] }
        ]
      },
      {
        count: 2,
        stages: [
          { from: 0, to: 1, after: [] },
          { from: 1, to: 2, after: [0, 0] }
        ]
      },
      { policy: { retries: 101 } },
      { policy: { lossesMax: 0 } },
      { policy: { lossesMax: 9 } },
      { policy: { priority: 10 } },
      { policy: { retryMaxMs: 2 ** 50 } }
    ]
    for (const asked of malformed) {
      const job = new JobShard()
      expect([asked, codeOf(() => job.submit(asked))]).toEqual([asked, 'invalid-argument'])
      job.check()
    }
    for (const id of ['', 'a b', 'a/b', 'a~1~2', '~', 'x'.repeat(201)]) {
      expect([id, codeOf(() => new JobShard(id).submit())]).toEqual([id, 'invalid-argument'])
    }
    for (const id of ['x'.repeat(200), 'a~1', 'A.b_c-9~12']) {
      expect([id, codeOf(() => new JobShard(id).submit())]).toEqual([id, undefined])
    }
    expect(codeOf(() => new JobShard('a~0').submit())).toBe('invalid-argument')
    const waits = Array.from({ length: 256 }, (_, place) => ({
      from: place,
      to: place + 1,
      after: Array.from({ length: Math.min(5, place) }, (_, at) => at)
    }))
    expect(codeOf(() => new JobShard().submit({ count: 256, stages: waits }))).toBe(
      'invalid-argument'
    )
  })

  it('that is not there, or a worker without a name, is refused', () => {
    const job = new JobShard()
    const calls = [
      () => job.grant('a'),
      () => job.complete('a', []),
      () => job.recall('a'),
      () => job.cancel(),
      () => job.retry(),
      () => job.remove(),
      () => job.view,
      () => job.workers,
      () => job.tasks
    ]
    for (const call of calls) expect(codeOf(call)).toBe('not-found')
    expect(job.open).toEqual([])
    job.submit()
    for (const name of ['', 'a/b', 'a b', 'x'.repeat(129)]) {
      expect(codeOf(() => job.grant(name))).toBe(
        name.length > 128 ? 'too-large' : 'invalid-argument'
      )
    }
    for (const limit of [0, 65])
      expect(codeOf(() => job.grant('a', limit))).toBe('invalid-argument')
    expect(codeOf(() => job.grant('a', 1, { ttlMs: 999 }))).toBe('invalid-argument')
    expect(codeOf(() => job.tell('a', done({ task: 10, attempt: 1 })))).toBe('invalid-argument')
    const elsewhere = new JobShard()
    Object.assign(elsewhere.shard, { space: 'kv' })
    expect(codeOf(() => elsewhere.cancel())).toBe('invalid-argument')
    job.check()
  })
})

describe('an outcome', () => {
  it('is taken once, and known again when it is repeated', () => {
    const job = new JobShard()
    job.submit()
    const [one, two] = job.take('a', 2) as [
      { task: number; attempt: number },
      { task: number; attempt: number }
    ]
    expect(job.tell('a', done(one), failed(two, false))).toEqual(['accepted', 'accepted'])
    expect(job.tell('a', done(one), failed(two, false))).toEqual(['repeated', 'repeated'])
    expect(job.tell('a', failed(one), done(two))).toEqual(['stale', 'stale'])
    expect(job.tell('b', done(one), done(two))).toEqual(['stale', 'stale'])
    expect(job.state.counts).toEqual({ ...COUNTS, done: 1, failed: 1 })
    expect(job.tasks.get(1)).toMatchObject({ state: 'failed', error: { code: 'task-failed' } })
    job.check()
  })

  it('of an attempt that never was is stale', () => {
    const job = new JobShard()
    job.submit()
    const [one] = job.take('a')
    expect(job.tell('a', done({ task: 5, attempt: 1 }))).toEqual(['stale'])
    expect(job.tell('a', done({ task: 0, attempt: 2 }))).toEqual(['stale'])
    expect(job.tell('a', done({ task: 0, attempt: 0 }))).toEqual(['stale'])
    expect(job.tell('b', done(one!))).toEqual(['stale'])
    expect(job.state.counts).toEqual({ ...COUNTS, running: 1 })
    job.check()
  })

  it('failed: the task is tried again later, up to its retries, with another number each time', () => {
    const job = new JobShard()
    job.submit({ count: 1, policy: { retries: 2, retryBaseMs: 400, retryMaxMs: 500 } })
    const attempts: number[] = []
    const waits: number[] = []
    for (let time = 0; time < 3; time++) {
      const [tried] = job.take('a')
      attempts.push(tried!.attempt)
      expect(job.tell('a', failed(tried!))).toEqual(['accepted'])
      // A repeat changes nothing.
      expect(job.tell('a', failed(tried!))).toEqual(['repeated'])
      job.check()
      if (time === 2) break
      expect(job.state.counts).toEqual({ ...COUNTS, waiting: 1 })
      const { nextReadyMs = 0 } = job.view
      waits.push(nextReadyMs)
      if (nextReadyMs > 0) {
        expect(job.grant('a')).toMatchObject({ tasks: [], readyCount: 0, nextReadyMs })
        job.shard.nowMs += nextReadyMs - 1
        expect(job.take('a')).toEqual([])
        job.shard.nowMs += 1
      }
    }
    expect(attempts).toEqual([1, 2, 3])
    expect(waits.every((ms, time) => ms <= (time === 0 ? 400 : 500))).toBe(true)
    expect(job.state).toMatchObject({ phase: 'ended', counts: { ...COUNTS, failed: 1 } })
    expect(job.tasks.get(0)).toMatchObject({ state: 'failed', failures: 3, losses: [] })
  })

  it('failed for good: no more attempts', () => {
    const job = new JobShard()
    job.submit({ count: 1 })
    const [tried] = job.take('a')
    job.tell('a', failed(tried!, false))
    expect(job.state).toMatchObject({ phase: 'ended', counts: { ...COUNTS, failed: 1 } })
    job.check()
  })

  it('returned: others may have it at once, and nothing is counted', () => {
    const job = new JobShard()
    job.submit({ count: 2 })
    const tried = job.take('a', 2)
    expect(job.tell('a', returned(tried[0]!))).toEqual(['accepted'])
    expect(job.tell('a', returned(tried[0]!))).toEqual(['stale'])
    expect(job.state.counts).toEqual({ ...COUNTS, running: 1, waiting: 1 })
    expect(job.take('b')).toMatchObject([{ task: 0, attempt: 3 }])
    expect(job.tasks.get(0)).toMatchObject({ failures: 0, losses: [], lossCount: 0 })
    job.check()
  })

  it('unfit: the worker gets none any more', () => {
    const job = new JobShard()
    job.submit({ count: 2 })
    const [tried] = job.take('a')
    expect(job.tell('a', unfit(tried!))).toEqual(['accepted'])
    expect(job.grant('a')).toMatchObject({ tasks: [], readyCount: 0, phase: 'open' })
    expect(job.open[0]).toMatchObject({ denied: ['a'], readyCount: 2 })
    expect(job.tasksFor('b', 2)).toEqual([0, 1])
    job.check()
  })

  it('lost: what ran it ended, which counts as a worker that was lost over it', () => {
    const job = new JobShard()
    job.submit({ count: 2, policy: { lossesMax: 2 } })
    const [first, second] = job.take('a', 2)
    expect(job.tell('a', lost(first!), done(second!))).toEqual(['accepted', 'accepted'])
    expect(job.tasks.get(0)).toMatchObject({ losses: ['a'], lossCount: 1, failures: 0 })
    // It isn't granted to the same one while there is another one to have it, …
    const [again] = job.take('b')
    expect(again).toMatchObject({ task: 0, attempt: 3, isOnTrial: true })
    expect(job.tell('a', lost(first!))).toEqual(['stale'])
    // … and after the last loss to nobody.
    expect(job.tell('b', lost(again!))).toEqual(['accepted'])
    expect(job.tasks.get(0)).toMatchObject({
      state: 'failed',
      losses: ['a', 'b'],
      error: { code: 'poison-task' }
    })
    expect(job.state.phase).toBe('ended')
    job.check()
  })

  it('blocked: tried again after a while, however often, and the reason is kept', () => {
    const job = new JobShard()
    job.submit({ count: 1, policy: { retries: 0 } })
    for (let attempt = 1; attempt < 9; attempt++) {
      const [tried] = job.take('a')
      expect(tried).toMatchObject({ task: 0, attempt })
      expect(job.tell('a', blocked(tried!))).toEqual(['accepted'])
      expect(job.take('b')).toEqual([])
      expect(job.tasks.get(0)).toMatchObject({ failures: 0, error: { code: 'not-found' } })
      job.shard.nowMs += 5_000
      job.pass(0)
    }
    const [last] = job.take('a')
    expect(job.tell('a', done(last!))).toEqual(['accepted'])
    expect(job.tasks.get(0)).toMatchObject({ state: 'done', error: undefined })
    job.check()
  })

  it('of blocks is taken only when they were touched since the collection that may want them', () => {
    const job = new JobShard()
    job.submit({ cycle: 0 })
    const [tried] = job.take('a')
    for (const cycle of [1, 2]) job.shard.run(CYCLE, { cycle })
    const result = { kind: 'blocks', cid: utf8('cid'), bytes: 7 } as const
    const outcome = { ...done(tried!), result } as TaskOutcome
    expect(codeOf(() => job.complete('a', [outcome], 0))).toBe('conflict')
    expect(job.complete('a', [outcome], 1).verdicts).toEqual(['accepted'])
    const other = new JobShard('other')
    for (const cycle of [1, 2]) other.shard.run(CYCLE, { cycle })
    expect(codeOf(() => other.submit({ cycle: 0 }))).toBe('conflict')
    job.check()
  })
})

describe('a worker', () => {
  it('that is silent loses its tasks to others', () => {
    const job = new JobShard()
    job.submit({ count: 3 })
    const lost = job.take('a', 2)
    job.pass(LEASE_MS - 1)
    expect(job.take('b')).toMatchObject([{ task: 2 }])
    job.pass(1)
    expect(job.state.counts).toEqual({ ...COUNTS, running: 1, waiting: 2 })
    expect(job.workers.map(({ worker }) => worker)).toEqual(['b'])
    expect(job.take('b', 2)).toMatchObject([
      { task: 0, attempt: 4 },
      { task: 1, attempt: 5 }
    ])
    expect(job.tasks.get(0)).toMatchObject({ losses: ['a'], lossCount: 1, state: 'waiting' })
    job.check()

    // What it had done all the same is good, as the job is pure; what it failed at isn't news.
    expect(job.tell('a', done(lost[0]!), failed(lost[1]!))).toEqual(['accepted', 'stale'])
    expect(job.workers[0]?.grants.map(({ task }) => task)).toEqual([2, 1])
    expect(job.tasks.get(0)).toMatchObject({ state: 'done', worker: 'a', attempt: 1 })
    job.check()
  })

  it('is told that its lease has ended, and begins anew', () => {
    const job = new JobShard()
    job.submit({ count: 3 })
    job.take('a')
    job.pass(LEASE_MS)
    expect(codeOf(() => job.grant('a'))).toBe('not-found')
    job.leases.delete('a')
    expect(job.tasksFor('a')).toEqual([1])
    // Nor is another one's any good.
    job.take('b')
    const lease = job.leases.get('b') as number
    expect(codeOf(() => job.grant('a', 1, { lease }))).toBe('not-found')
    expect(codeOf(() => job.grant('c', 1, { lease }))).toBe('not-found')
    job.check()
  })

  it('of a job that is not pure is fenced off when its attempt was superseded', () => {
    const job = new JobShard()
    job.submit({ count: 1, policy: { isPure: false } })
    const [old] = job.take('a')
    job.pass(LEASE_MS)
    expect(job.tell('a', done(old!))).toEqual(['stale'])
    const [now] = job.take('b')
    expect(now!.attempt).toBeGreaterThan(old!.attempt)
    expect(job.tell('a', done(old!))).toEqual(['stale'])
    expect(job.tell('b', done(now!))).toEqual(['accepted'])
    job.check()
  })

  it('stays as long as its lease is renewed, by grants and outcomes too', () => {
    const job = new JobShard()
    job.submit({ count: 9 })
    const [tried] = job.take('a')
    const lease = job.leases.get('a') as number
    job.pass(LEASE_MS - 1)
    job.shard.run(KEEP_ALIVE, { lease })
    job.pass(LEASE_MS - 1)
    job.tell('a', done(tried!))
    job.pass(LEASE_MS - 1)
    job.take('a')
    job.pass(LEASE_MS - 1)
    expect(job.complete('a', [])).toEqual({ verdicts: [], phase: 'open', liveCount: 1 })
    job.pass(LEASE_MS - 1)
    expect(job.workers).toMatchObject([{ worker: 'a', lease, leftMs: 1 }])
    job.pass(1)
    expect(job.workers).toEqual([])
    job.check()
  })

  it('that begins anew without having told is lost with what it had', () => {
    const job = new JobShard()
    job.submit({ count: 3 })
    job.take('a', 2)
    const before = job.leases.get('a') as number
    // The rest first, what was lost with it only when there is nothing else.
    expect(job.take('a', 3, { lease: 0 })).toMatchObject([{ task: 2 }])
    expect(job.shard.machine.reads.lease(before)).toBeUndefined()
    expect(job.tasks.get(0)?.losses).toEqual(['a'])
    expect(job.tasksFor('a', 3)).toEqual([0, 1])
    job.check()
  })

  it('that somebody saw go is recalled', () => {
    const job = new JobShard()
    job.submit({ count: 3 })
    job.take('a', 2)
    const lease = job.leases.get('a') as number
    expect(job.recall('a', lease + 1)).toBe(0)
    expect(job.recall('b')).toBe(0)
    expect(job.recall('a', lease)).toBe(2)
    expect(job.recall('a')).toBe(0)
    expect(job.shard.machine.reads.lease(lease)).toBeUndefined()
    expect(job.state.counts).toEqual({ ...COUNTS, waiting: 2 })
    expect(job.tasksFor('b', 3)).toEqual([0, 1, 2])
    job.check()
  })

  it('has no more tasks at a time than it may', () => {
    const job = new JobShard()
    job.submit({ count: 400 })
    const counts = Array.from({ length: 6 }, () => job.take('a', 60).length)
    expect(counts).toEqual([60, 60, 60, 60, 16, 0])
    job.check()
  })

  it('is one of 256 at most', () => {
    const job = new JobShard()
    job.submit({ count: 300 })
    for (let index = 0; index < 256; index++) job.take(`w${index}`)
    const found = job.grant('more')
    expect(found).toMatchObject({ lease: 0, tasks: [], readyCount: 0, nextReadyMs: 5_000 })
    expect(job.tasksFor('w7')).toEqual([256])
    job.recall('w0')
    expect(job.tasksFor('more')).toEqual([0])
    job.check()
  })
})
