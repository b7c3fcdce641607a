import { describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../../src/base/bytes.ts'
import type { TaskOutcome } from '../../../src/core/machine/job-calls.ts'
import { JOB_BLOCKS, JOB_LIST, JOB_OPEN } from '../../../src/core/machine/job-listings.ts'
import { JOB_TASKS, JOB_WORKERS } from '../../../src/core/machine/job-queries.ts'
import { ANSWER_BYTES_MAX } from '../../../src/core/machine/limits.ts'
import { JobShard, LEASE_MS, done, failed } from './job-shard.ts'
import type { Asked, Tried } from './job-shard.ts'
import { codeOf } from './shard.ts'

/** A shard with several jobs. */
function jobsOf(names: readonly string[], asked: Asked = {}): JobShard {
  const job = new JobShard()
  for (const name of names) {
    Object.assign(job.shard, { space: `~${name}` })
    job.submit(asked)
  }
  return job
}

function names(jobs: readonly { space: Uint8Array }[]): string[] {
  return jobs.map(({ space }) => fromUtf8(space))
}

/** All pages one after the other. */
function paged<Page extends { next: After | undefined }, After>(
  pageOf: (after: After | undefined) => Page
): Page[] {
  const pages: Page[] = []
  let after: After | undefined
  do {
    const page = pageOf(after)
    pages.push(page)
    after = page.next
  } while (after !== undefined)
  return pages
}

function withBlocks(tried: Tried, cid: string, logs?: string): TaskOutcome {
  const result = { kind: 'blocks', cid: utf8(cid), bytes: 7 } as const
  const printed = logs === undefined ? undefined : utf8(logs)
  return { kind: 'done', ...tried, result, durationMs: 1, logs: printed }
}

describe('the open jobs of a shard', () => {
  it('are listed by name, a page at a time, with what a worker wants to know', () => {
    const job = jobsOf(['c', 'a~2', 'a', 'b'], { count: 5, policy: { priority: 4 } })
    Object.assign(job.shard, { space: '~b' })
    job.cancel()
    job.shard.nowMs += 30
    Object.assign(job.shard, { space: '~c' })
    const [one, two] = job.take('w', 2) as [Tried, Tried]
    job.tell('w', done(one), failed(two))

    const pages = paged((after: Uint8Array | undefined) => job.ask(JOB_OPEN, { after, limit: 2 }))
    expect(pages.map(({ jobs }) => names(jobs))).toEqual([['~a', '~a~2'], ['~c']])
    const waiting = job.state.counts.waiting === 1 ? job.view.nextReadyMs : undefined
    expect(pages[1]?.timeMs).toBe(30)
    expect(pages[1]?.jobs[0]).toMatchObject({
      count: 5,
      policy: { priority: 4 },
      createdMs: 0,
      counts: { done: 1, failed: 0, running: 0, waiting: 1 },
      readyCount: 3,
      nextReadyMs: waiting,
      medianMs: 12,
      denied: []
    })
    expect(job.ask(JOB_OPEN, { after: utf8('~c'), limit: 9 }).jobs).toEqual([])
    for (const limit of [0, 257]) {
      expect(codeOf(() => job.ask(JOB_OPEN, { after: undefined, limit }))).toBe('invalid-argument')
    }
  })

  it('fit an answer, however large they are', () => {
    const many = Array.from({ length: 150 }, (_, index) => `job-${1_000 + index}`)
    const job = jobsOf(many, { spec: new Uint8Array(8_192) })
    const pages = paged((after: Uint8Array | undefined) => {
      const page = job.ask(JOB_OPEN, { after, limit: 256 })
      const bytes = page.jobs.reduce((sum, { spec }) => sum + spec.length, 0)
      expect(bytes).toBeLessThan(ANSWER_BYTES_MAX)
      return page
    })
    expect(pages.length).toBeGreaterThan(2)
    expect(pages.flatMap(({ jobs }) => names(jobs))).toEqual(many.map((name) => `~${name}`))
  })
})

describe('all jobs of a shard', () => {
  it('are listed by name, those too that have ended', () => {
    const job = jobsOf(['a', 'b', 'c'])
    Object.assign(job.shard, { space: '~b' })
    job.shard.nowMs += 7
    job.cancel()
    const pages = paged((after: Uint8Array | undefined) => job.ask(JOB_LIST, { after, limit: 2 }))
    expect(pages.map(({ jobs }) => names(jobs))).toEqual([['~a', '~b'], ['~c']])
    expect(pages[0]?.jobs[1]).toMatchObject({ phase: 'cancelled', endedMs: 7, isRemoved: false })
  })
})

describe('the tasks of a job', () => {
  it('are listed by number, those in some states, a page at a time', () => {
    const job = new JobShard()
    job.submit({ count: 2_500, policy: { retries: 0 } })
    const all: number[] = []
    for (let time = 0; time < 39; time++) {
      const tried = job.take('w', 64)
      all.push(...tried.map(({ task }) => task))
      job.tell('w', ...tried.map((one) => (one.task % 500 === 3 ? failed(one) : done(one))))
    }
    const list = (states: ('done' | 'failed')[], limit: number): number[][] =>
      paged((from: number | undefined = 0) =>
        job.ask(JOB_TASKS, { space: job.space, from, limit, states })
      ).map(({ tasks }) => tasks.map(({ task }) => task))
    expect(list([], 256).flat()).toEqual(all)
    // A page looks at a thousand tasks: it may be empty, and isn't the last for that.
    expect(list(['failed'], 256)).toEqual([[3, 503], [1_003, 1_503], [2_003]])
    expect(list(['failed'], 2).flat()).toEqual([3, 503, 1_003, 1_503, 2_003])
    expect(list(['done', 'failed'], 100).every((page) => page.length <= 100)).toBe(true)
    const from = 9_999
    expect(job.ask(JOB_TASKS, { space: job.space, from, limit: 1, states: [] })).toEqual({
      tasks: [],
      next: undefined
    })
  })

  it('fit an answer, however large their results are', () => {
    const job = new JobShard()
    job.submit({ count: 300 })
    for (let time = 0; time < 5; time++) {
      const tried = job.take('w', 60)
      job.tell('w', ...tried.map((one) => done(one, 'x'.repeat(4_096))))
    }
    const pages = paged((from: number | undefined = 0) =>
      job.ask(JOB_TASKS, { space: job.space, from, limit: 256, states: [] })
    )
    expect(pages.length).toBeGreaterThan(2)
    expect(pages.flatMap(({ tasks }) => tasks.map(({ task }) => task))).toHaveLength(300)
    expect(codeOf(() => job.tell('w', done({ task: 0, attempt: 1 }, 'x'.repeat(4_097))))).toBe(
      'too-large'
    )
  })
})

describe('the workers of a job', () => {
  it('are listed by name with what they have, a page at a time', () => {
    const job = new JobShard()
    job.submit()
    for (const worker of ['c', 'a', 'b']) {
      job.take(worker, 2)
      job.shard.nowMs += 10
    }
    const pages = paged((after: string | undefined) =>
      job.ask(JOB_WORKERS, { space: job.space, after, limit: 2 })
    )
    expect(pages.map(({ workers }) => workers.map(({ worker }) => worker))).toEqual([
      ['a', 'b'],
      ['c']
    ])
    expect(pages[1]?.workers[0]).toEqual({
      worker: 'c',
      lease: 2,
      leftMs: LEASE_MS - 20,
      grants: [
        { task: 0, attempt: 1, grantedMs: 0, isSpeculative: false, isOnTrial: false },
        { task: 1, attempt: 2, grantedMs: 0, isSpeculative: false, isOnTrial: false }
      ]
    })
  })
})

describe('the blocks that jobs name', () => {
  it('are all listed: manifests, code, results and logs', () => {
    const job = jobsOf(['a', 'b', 'c'], { count: 1_200, code: utf8('code') })
    Object.assign(job.shard, { space: '~d' })
    job.submit({ manifest: utf8('') })
    Object.assign(job.shard, { space: '~b' })
    const expected = ['manifest', 'code', 'manifest', 'code', 'manifest', 'code']
    for (let time = 0; time < 18; time++) {
      const tried = job.take('w', 64)
      job.tell('w', ...tried.map((one) => withBlocks(one, `cid-${one.task}`, `log-${one.task}`)))
      expected.push(...tried.flatMap(({ task }) => [`cid-${task}`, `log-${task}`]))
    }
    const [last] = job.take('w', 1) as [Tried]
    job.tell('w', {
      ...(failed(last) as Extract<TaskOutcome, { kind: 'failed' }>),
      logs: utf8('why')
    })
    expected.push('why')
    const pages = paged((after: Uint8Array | undefined) => job.ask(JOB_BLOCKS, { after }))
    expect(pages.length).toBe(3)
    expect(pages.flatMap(({ blocks }) => blocks.map((cid) => fromUtf8(cid)))).toEqual(expected)
    for (const after of [utf8(''), Uint8Array.of(1, 2)]) {
      expect(codeOf(() => job.ask(JOB_BLOCKS, { after }))).toBe('invalid-argument')
    }
  })
})
