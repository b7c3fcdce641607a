// What runs here, and who had how much of it. A task on trial runs alone, though neither it nor others
// wait for that for ever.

import { describe, expect, it } from 'vitest'
import { MIB } from '../../../src/base/units.ts'
import { REQUIREMENTS_DEFAULTS } from '../../../src/core/jobs/requirements.ts'
import { JOB_TRIAL_MS } from '../../../src/core/machine/job-loss.ts'
import { MemoryExecutor } from '../../../src/executor/memory/memory-executor.ts'
import type { JobSpec } from '../../../src/services/compute/spec.ts'
import { TaskRunner } from '../../../src/services/compute/task-runner.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'

const CID = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'
const SPEC: JobSpec = {
  task: 'work',
  code: { kind: 'bundle', cid: CID },
  limits: { timeoutMs: 10 * JOB_TRIAL_MS, memoryBytes: MIB },
  requirements: { ...REQUIREMENTS_DEFAULTS, memoryBytes: MIB },
  manifest: { kind: 'inline', inputs: [] }
}
const { signal } = new AbortController()

class Runs {
  readonly clock: VirtualClock = new VirtualClock()
  readonly runner: TaskRunner
  readonly #executor: MemoryExecutor
  readonly #durations = new Map<string, number>()

  constructor(slots = 3) {
    const behave = ({ id }: { id: string }) => {
      const durationMs = this.#durations.get(id) ?? 0
      const output = new Uint8Array()
      return { durationMs, result: { kind: 'done', output, durationMs } as const }
    }
    this.#executor = new MemoryExecutor({ clock: this.clock, behave }, { slots })
    const parts = { executor: this.#executor, nowMs: () => this.clock.monotonicMs() }
    const room = { cpuMilli: 1_000 * slots, memoryBytes: 64 * MIB, gpus: 0 }
    const accepts = { submitters: undefined }
    const offer = { ...room, labels: new Map<string, string>(), allowsExec: false, accepts }
    this.runner = new TaskRunner(parts, { offer, speedMilli: 1_000 })
    void this.#executor.start()
  }

  /** @returns whether it has begun */
  begin(
    id: string,
    durationMs: number,
    more: { isOnTrial?: true; isNested?: true; submitter?: string } = {}
  ): boolean {
    this.#durations.set(id, durationMs)
    const about = { id, spec: SPEC, submitter: '', input: new Uint8Array(), fencingToken: 1 }
    return this.runner.tryRun({ ...about, ...more }, { signal }) !== undefined
  }

  /** One on trial, asked for again and again for so long. @returns whether it has begun */
  async wait(id: string, durationMs: number, waitMs: number): Promise<boolean> {
    for (let passedMs = 0; passedMs < waitMs; passedMs += 250) {
      if (this.begin(id, durationMs, { isOnTrial: true })) return true
      expect(this.runner.isWaiting(id)).toBe(true)
      await this.clock.advance(250)
    }
    return this.begin(id, durationMs, { isOnTrial: true })
  }
}

describe('a task on trial', () => {
  it('begins when others have ended, and none begins meanwhile nor beside it', async () => {
    const runs = new Runs()
    expect(runs.begin('one', 5_000)).toBe(true)
    expect(runs.begin('trial', 2_000, { isOnTrial: true })).toBe(false)
    expect(runs.begin('two', 10)).toBe(false)
    expect(runs.runner).toMatchObject({ isHeld: true, freeSlots: 0, runningCount: 1 })
    expect(await runs.wait('trial', 2_000, 6_000)).toBe(true)
    expect(runs.clock.monotonicMs()).toBe(5_000)
    expect(runs.begin('two', 10)).toBe(false)
    expect(runs.begin('another', 10, { isOnTrial: true })).toBe(false)
    // It may wait for that one.
    expect(runs.begin('nested', 10, { isNested: true })).toBe(true)
    await runs.clock.advance(2_000)
    expect(runs.runner).toMatchObject({ isHeld: false, freeSlots: 3 })
    expect(runs.begin('two', 10)).toBe(true)
  })

  it('begins beside others when they take too long, and others begin when it does', async () => {
    const runs = new Runs()
    expect(runs.begin('one', 10 * JOB_TRIAL_MS)).toBe(true)
    expect(await runs.wait('trial', 5 * JOB_TRIAL_MS, JOB_TRIAL_MS - 1)).toBe(true)
    expect(runs.clock.monotonicMs()).toBe(JOB_TRIAL_MS)
    expect(runs.begin('two', 10)).toBe(false)
    await runs.clock.advance(JOB_TRIAL_MS)
    expect(runs.begin('two', JOB_TRIAL_MS)).toBe(true)
    expect(runs.begin('another', 10, { isOnTrial: true })).toBe(false)
  })

  it('that nobody asks for any more keeps nothing from beginning', async () => {
    const runs = new Runs()
    expect(runs.begin('one', 5_000)).toBe(true)
    expect(runs.begin('trial', 10, { isOnTrial: true })).toBe(false)
    await runs.clock.advance(1_001)
    expect(runs.runner.isHeld).toBe(false)
    expect(runs.begin('two', 10)).toBe(true)
  })
})

describe('what submitters use of a node', () => {
  it('is what their tasks took, and of those that run what they will take at least', async () => {
    const runs = new Runs()
    const used = (submitter: string): number => runs.runner.usedMs(submitter, 0)
    runs.begin('a', 1_000, { submitter: 'ann' })
    await runs.clock.advance(400)
    expect([used('ann'), used('bob')]).toEqual([400, 0])
    await runs.clock.advance(600)
    expect(used('ann')).toBe(1_000)
    // Such tasks take a second, as far as is known; this one takes longer.
    runs.begin('b', 3_000, { submitter: 'bob' })
    expect(used('bob')).toBe(1_000)
    await runs.clock.advance(2_000)
    expect(used('bob')).toBe(2_000)
    expect(runs.runner.usedMs('bob', 500)).toBe(2_500)
    await runs.clock.advance(1_000)
    expect(used('bob')).toBe(3_000)
    // Short ones count as short.
    for (let number = 0; number < 100; number++) {
      runs.begin(`c${number}`, 0.01, { submitter: 'cat' })
      await runs.clock.advance(1)
    }
    expect(used('cat')).toBeCloseTo(1, 3)
  })
})
