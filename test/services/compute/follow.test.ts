// What a program asks the shards for when it waits for its job: counted, as each is a round trip.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { JOB_COMPLETE, JOB_GRANT } from '../../../src/core/machine/job-calls.ts'
import { jobSpace } from '../../../src/core/machine/job-names.ts'
import { encodeValue } from '../../../src/executor/values.ts'
import type { Job } from '../../../src/services/compute/job.ts'
import { Jobs } from '../../../src/services/compute/jobs.ts'
import {
  NodeSubmitter,
  type NodeSubmitterComponents
} from '../../../src/services/compute/node-submitter.ts'
import { PROMPT_WAIT_MS } from '../../../src/shard/shards.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'
import { LocalShards } from '../local-shards.ts'
import { request } from './work-mesh.ts'

const LATENCY_MS = 5

let clock: VirtualClock
let shards: LocalShards
let jobs: Jobs

beforeEach(() => {
  clock = new VirtualClock()
  shards = new LocalShards(clock)
  shards.latencyMs = () => LATENCY_MS
  const none = (): never => {
    throw new Error('There are no blocks')
  }
  const begin: NodeSubmitterComponents['begin'] = async (_, give) => await give(undefined)
  const submitter = new NodeSubmitter({ shards, clock, files: { putFor: none }, begin })
  jobs = new Jobs({ shards, clock, submitter, read: none })
})

afterEach(() => shards.stop())

/** A worker has a job's first task, and returns `value`. */
async function work(id: string, value: unknown): Promise<void> {
  const target = { space: jobSpace({ id, part: 0 }) }
  const args = { worker: 'a', lease: 0, ttlMs: 6_000, limit: 1, isSpeculativeAllowed: false }
  const { tasks } = (await shards.execute(target, JOB_GRANT, args)).result
  const outcomes = tasks.map(({ task, attempt }) => {
    const result = { kind: 'inline', value: encodeValue(value) } as const
    return { kind: 'done', task, attempt, result, durationMs: 1, logs: undefined } as const
  })
  await shards.execute(target, JOB_COMPLETE, { worker: 'a', outcomes, cycle: undefined })
}

async function firstOf(job: Job): Promise<unknown> {
  for await (const { value } of job.results()) return value
  return undefined
}

/** @returns what was asked while it ran, and what it came to. */
async function asked<T>(run: () => Promise<T>): Promise<{ calls: string[]; value: T }> {
  const before = shards.calls.length
  const value = await clock.run(run())
  return { calls: shards.calls.slice(before), value }
}

describe('following a job that was submitted just now', () => {
  it('results() asks for nothing but what changes', async () => {
    const job = await clock.run(jobs.submit(request('a', 1)))

    const { calls, value } = await asked(async () => {
      const first = firstOf(job)
      await work('a', 'well')
      return await first
    })

    expect(value).toBe('well')
    const reads = calls.filter((name) => !name.startsWith('job.'))
    expect(new Set(reads)).toEqual(new Set(['state.changes']))
    expect(calls).not.toContain('job.get')
  })

  it('results() misses nothing that ended before it was called', async () => {
    const job = await clock.run(jobs.submit(request('a', 1)))
    await clock.run(work('a', 'well'))

    expect((await asked(async () => await firstOf(job))).value).toBe('well')
  })

  it('wait() asks how the job is once, at its end', async () => {
    const job = await clock.run(jobs.submit(request('a', 1)))

    const { calls, value } = await asked(async () => {
      const end = job.wait()
      await work('a', 'well')
      return await end
    })

    expect(value).toMatchObject({ state: 'ended', done: 1 })
    expect(calls.filter((name) => name === 'job.get')).toHaveLength(1)
  })

  it('wait() and results() look first when it was submitted some time ago', async () => {
    const job = await clock.run(jobs.submit(request('a', 1)))
    await clock.run(work('a', 'well'))
    await clock.advance(2_000)

    const waited = await asked(async () => await job.wait())
    const read = await asked(async () => await firstOf(job))

    expect(waited.calls).toEqual(['job.get', 'job.get'])
    expect(read).toMatchObject({
      value: 'well',
      calls: expect.arrayContaining(['job.get']) as unknown
    })
  })

  it('a job of the same name that was there already is looked at', async () => {
    await clock.run(jobs.submit(request('a', 1)))
    await clock.run(work('a', 'well'))

    const again = await clock.run(jobs.submit(request('a', 1)))

    expect((await asked(async () => await again.wait())).calls).toContain('job.get')
    expect((await asked(async () => await firstOf(again))).value).toBe('well')
  })

  it('results() ends with a job that is cancelled', async () => {
    const job = await clock.run(jobs.submit(request('a', 2)))

    const { value } = await asked(async () => {
      const first = firstOf(job)
      await job.cancel()
      return await first
    })

    expect(value).toBeUndefined()
  })

  it('asks the leader for a moment, and then the nearest replica', async () => {
    const job = await clock.run(jobs.submit(request('a', 1)))
    const waits: number[] = []
    const changes = shards.changes.bind(shards)
    shards.changes = async (target, query, options) => {
      waits.push(options.waitMs)
      return await changes(target, query, options)
    }

    const waited = job.wait()
    await clock.advance(3 * PROMPT_WAIT_MS)
    await clock.run(work('a', utf8('well')))
    await clock.run(waited)

    expect(waits[0]).toBeLessThanOrEqual(PROMPT_WAIT_MS)
    expect(waits[1]).toBeGreaterThan(PROMPT_WAIT_MS)
  })
})
