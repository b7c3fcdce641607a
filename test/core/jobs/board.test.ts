import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRandom } from '../../../src/base/random.ts'
import { Board } from '../../../src/core/jobs/board.ts'
import type { BoardEffect, BoardInput, JobNews } from '../../../src/core/jobs/board.ts'

const SHARDS = 4

function news(name: string, more: Partial<JobNews> = {}): JobNews {
  const usual = { readyCount: 1, nextReadyMs: undefined, mayNeedHelp: false, progress: 0, ageMs: 0 }
  return { name, ...usual, ...more }
}

/** A board with its time, and all that it ever wanted. */
class Desk {
  readonly board: Board
  readonly effects: { readonly atMs: number; readonly effect: BoardEffect }[] = []
  nowMs = 0

  constructor(seed = 1) {
    const shardOf = (name: string): number => name.length % SHARDS
    this.board = new Board({ random: createRandom(seed), shardCount: SHARDS, shardOf })
  }

  step(input: BoardInput): BoardEffect[] {
    this.board.tick(this.nowMs)
    this.board.step(input)
    return this.take()
  }

  /** Lets time pass as a driver does, which wakes when the board wants it to. */
  pass(durationMs: number): BoardEffect[] {
    const endMs = this.nowMs + durationMs
    const effects: BoardEffect[] = []
    for (;;) {
      const { nextMs } = this.board
      this.nowMs = Math.min(endMs, Math.max(this.nowMs, nextMs ?? endMs))
      this.board.tick(this.nowMs)
      effects.push(...this.take())
      if (this.nowMs === endMs) return effects
    }
  }

  take(): BoardEffect[] {
    const effects = this.board.take()
    for (const effect of effects) this.effects.push({ atMs: this.nowMs, effect })
    return effects
  }

  room(hasRoom = true): BoardEffect[] {
    return this.step({ kind: 'room', hasRoom })
  }

  candidates(): string[] {
    return this.board.candidates().map(({ name }) => name)
  }
}

function kinds(effects: readonly BoardEffect[]): string[] {
  return effects.map((effect) => effect.kind)
}

describe('a board', () => {
  it('asks all shards while there is room, at longer and longer intervals, each once at a time', () => {
    const desk = new Desk()
    expect(desk.pass(60_000)).toEqual([])
    expect(kinds([...desk.room(), ...desk.pass(60_000)])).toEqual(['ask', 'ask', 'ask', 'ask'])
    for (let second = 0; second < 300; second++) {
      for (const effect of desk.pass(1_000)) {
        if (effect.kind === 'ask') desk.step({ kind: 'listed', shard: effect.shard, jobs: [] })
      }
      if (second === 0)
        for (let shard = 0; shard < SHARDS; shard++) desk.step({ kind: 'unanswered', shard })
    }
    const times = desk.effects
      .filter(({ effect }) => effect.kind === 'ask' && effect.shard === 2)
      .map(({ atMs }) => atMs)
    const gaps = times.slice(2).map((atMs, index) => atMs - (times[index + 1] as number))
    expect(gaps.length).toBeLessThan(25)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(31_000)
    expect(gaps.at(-1)).toBeGreaterThan(14_000)
    desk.room(false)
    expect(desk.pass(100_000)).toEqual([])
    expect(desk.board.nextMs).toBeUndefined()
  })

  it('asks all shards soon when others can be reached again', () => {
    const desk = new Desk()
    desk.room()
    for (let second = 0; second < 100; second++) {
      for (const effect of desk.pass(1_000)) {
        if (effect.kind === 'ask') desk.step({ kind: 'listed', shard: effect.shard, jobs: [] })
      }
    }
    desk.step({ kind: 'reached' })
    expect(kinds(desk.pass(1_000))).toEqual(['ask', 'ask', 'ask', 'ask'])
  })

  it('looks at a job that it hears of, once at a time, and then has it', () => {
    const desk = new Desk()
    desk.room()
    expect(desk.step({ kind: 'offered', name: 'a', readyCount: 3 })).toEqual([
      { kind: 'look', name: 'a' }
    ])
    expect(desk.step({ kind: 'offered', name: 'a', readyCount: 3 })).toEqual([])
    expect(desk.step({ kind: 'seen', name: 'a', news: news('a', { readyCount: 3 }) })).toEqual([
      { kind: 'choose' }
    ])
    expect(desk.board.candidates()).toEqual([{ name: 'a', readyCount: 3, waitedMs: 0 }])
    // Nothing is ready any more, they say.
    expect(desk.step({ kind: 'offered', name: 'a', readyCount: 0 })).toEqual([
      { kind: 'look', name: 'a' }
    ])
    desk.step({ kind: 'unseen', name: 'a' })
    expect(kinds(desk.step({ kind: 'offered', name: 'a', readyCount: 0 }))).toEqual(['look'])
    expect(desk.step({ kind: 'seen', name: 'a', news: undefined })).toEqual([])
    expect(desk.candidates()).toEqual([])
  })

  it('learns from lists, and looks at what is missing there', () => {
    const desk = new Desk()
    desk.room()
    expect(desk.step({ kind: 'listed', shard: 1, jobs: [news('a'), news('b')] })).toEqual([
      { kind: 'choose' }
    ])
    expect(desk.candidates()).toEqual(['a', 'b'])
    desk.step({ kind: 'listed', shard: 2, jobs: [] })
    expect(desk.step({ kind: 'listed', shard: 1, jobs: [news('b')] })).toEqual([
      { kind: 'look', name: 'a' },
      { kind: 'choose' }
    ])
    desk.step({ kind: 'seen', name: 'a', news: undefined })
    expect(desk.board.names()).toEqual(['b'])
  })

  it('knows when a retry is due', () => {
    const desk = new Desk()
    desk.room()
    const waits = news('a', { readyCount: 0, nextReadyMs: 700 })
    expect(desk.step({ kind: 'granted', news: waits, taskCount: 1 })).toEqual([])
    expect(desk.board.nextMs).toBeLessThanOrEqual(700)
    expect(kinds(desk.pass(699))).not.toContain('choose')
    expect(desk.candidates()).toEqual([])
    expect(desk.pass(1)).toContainEqual({ kind: 'choose' })
    expect(desk.board.candidates()).toEqual([{ name: 'a', readyCount: 1, waitedMs: 700 }])
  })

  it('leaves a job alone for longer and longer that gives nothing', () => {
    const desk = new Desk()
    desk.room()
    const gaps: number[] = []
    for (let time = 0; time < 12; time++) {
      const startMs = desk.nowMs
      if (time % 2 === 0) desk.step({ kind: 'granted', news: news('a'), taskCount: 0 })
      else desk.step({ kind: 'refused', name: 'a' })
      expect(desk.candidates()).toEqual([])
      while (desk.candidates().length === 0) desk.pass(10)
      gaps.push(desk.nowMs - startMs)
    }
    expect(gaps[0]).toBeLessThanOrEqual(260)
    expect(gaps.at(-1)).toBeGreaterThanOrEqual(15_000)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(30_010)
    // Somebody says that there is work.
    desk.step({ kind: 'refused', name: 'a' })
    expect(desk.step({ kind: 'offered', name: 'a', readyCount: 2 })).toEqual([{ kind: 'choose' }])
  })

  it('offers a second attempt now and then where tasks are slow', () => {
    const desk = new Desk()
    desk.room()
    const slow = news('a', { readyCount: 0, mayNeedHelp: true })
    expect(desk.step({ kind: 'listed', shard: 1, jobs: [slow] })).toEqual([{ kind: 'choose' }])
    expect(desk.candidates()).toEqual(['a'])
    desk.step({ kind: 'granted', news: slow, taskCount: 0 })
    expect(desk.candidates()).toEqual([])
    expect(kinds(desk.pass(1_000))).not.toContain('choose')
    desk.step({ kind: 'listed', shard: 1, jobs: [slow] })
    expect(desk.candidates()).toEqual(['a'])
  })

  it('comes again for a second attempt when it was told to, and more and more seldom in vain', () => {
    const desk = new Desk()
    desk.room()
    const soon = news('a', { readyCount: 0, nextReadyMs: 40, mayNeedHelp: true })
    desk.step({ kind: 'granted', news: soon, taskCount: 1 })
    expect(kinds(desk.pass(39))).not.toContain('choose')
    expect(desk.pass(1)).toContainEqual({ kind: 'choose' })
    const gaps: number[] = []
    const now = news('a', { readyCount: 0, nextReadyMs: 1 })
    for (let time = 0; time < 14; time++) {
      const startMs = desk.nowMs
      desk.step({ kind: 'granted', news: now, taskCount: 0 })
      while (desk.candidates().length === 0) desk.pass(1)
      gaps.push(desk.nowMs - startMs)
    }
    expect(gaps[0]).toBeLessThanOrEqual(10)
    expect(gaps.at(-1)).toBeGreaterThanOrEqual(15_000)
    // It gave something.
    desk.step({ kind: 'granted', news: now, taskCount: 1 })
    desk.pass(1)
    desk.step({ kind: 'granted', news: now, taskCount: 0 })
    desk.pass(10)
    expect(desk.candidates()).toEqual(['a'])
  })

  it('tells how long a job has waited for anybody', () => {
    const desk = new Desk()
    desk.room()
    const waited = (): number | undefined => desk.board.candidates()[0]?.waitedMs
    desk.nowMs = 5_000
    desk.step({ kind: 'listed', shard: 1, jobs: [news('a', { ageMs: 40_000 })] })
    expect(waited()).toBe(40_000)
    desk.pass(1_000)
    expect(waited()).toBe(41_000)
    desk.step({ kind: 'listed', shard: 1, jobs: [news('a', { progress: 1 })] })
    expect(waited()).toBe(0)
    desk.pass(1_000)
    desk.step({ kind: 'listed', shard: 1, jobs: [news('a', { progress: 1 })] })
    expect(waited()).toBe(1_000)
    desk.step({ kind: 'granted', news: news('a', { progress: 1 }), taskCount: 1 })
    expect(waited()).toBe(0)
    desk.step({ kind: 'listed', shard: 2, jobs: [news('bb', { ageMs: 40_000, progress: 3 })] })
    expect(desk.board.candidates()[1]?.waitedMs).toBe(0)
  })

  it('says again that something may be had when there is room again', () => {
    const desk = new Desk()
    expect(desk.step({ kind: 'listed', shard: 1, jobs: [news('a')] })).toEqual([])
    expect(desk.room()).toEqual([{ kind: 'choose' }])
    expect(desk.room()).toEqual([])
    desk.room(false)
    expect(desk.room()).toEqual([{ kind: 'choose' }])
  })

  it('keeps a bounded number of jobs in mind, and looks at few at a time', () => {
    const desk = new Desk()
    const jobs = Array.from({ length: 5_000 }, (_, index) => news(`job-${index}`))
    desk.step({ kind: 'listed', shard: 1, jobs })
    expect(desk.board.names()).toHaveLength(4_096)
    const looks = Array.from({ length: 100 }, (_, index) =>
      desk.step({ kind: 'offered', name: `x${index}`, readyCount: 1 })
    ).flat()
    expect(looks).toHaveLength(64)
  })
})

describe('offers of this node', () => {
  const told = (desk: Desk, name: string): number[] =>
    desk.effects
      .filter(({ effect }) => effect.kind === 'offer' && effect.names.includes(name))
      .map(({ atMs }) => atMs)

  it('come at once, then again and again, until there is nothing to tell', () => {
    const desk = new Desk()
    expect(desk.step({ kind: 'offer', name: 'a', isLasting: true })).toEqual([
      { kind: 'offer', names: ['a'] }
    ])
    desk.pass(300_000)
    const times = told(desk, 'a')
    const gaps = times.slice(1).map((atMs, index) => atMs - (times[index] as number))
    expect(gaps[0]).toBeLessThanOrEqual(1_000)
    expect(Math.max(...gaps)).toBeLessThanOrEqual(30_000)
    expect(gaps.at(-1)).toBeGreaterThanOrEqual(15_000)
    desk.step({ kind: 'withdraw', name: 'a' })
    expect(desk.pass(300_000)).toEqual([])
    expect(desk.board.nextMs).toBeUndefined()
  })

  it('are one message for up to 16 jobs', () => {
    const desk = new Desk()
    for (let time = 0; time < 2; time++) {
      for (let index = 0; index < 40; index++) {
        desk.step({ kind: 'offer', name: `job-${index}`, isLasting: false })
      }
    }
    // The second time all of them have to wait for the same moment.
    const messages = desk.pass(500)
    expect(messages.map((effect) => (effect.kind === 'offer' ? effect.names.length : 0))).toEqual([
      16, 16, 8
    ])
    expect(told(desk, 'job-39')).toEqual([0, 500])
  })

  it('of one job are never less than half a second apart, and none is forgotten', () => {
    const anyStep = fc.record({
      ms: fc.nat(700),
      name: fc.constantFrom('a', 'b'),
      kind: fc.constantFrom('offer', 'offer', 'offer', 'withdraw', 'over'),
      isLasting: fc.boolean()
    })
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60, size: 'max' }), fc.nat(), (steps, seed) => {
        const desk = new Desk(seed)
        const due = new Map<string, number>()
        for (const { ms, name, kind, isLasting } of steps) {
          desk.pass(ms)
          if (kind === 'offer') {
            desk.step({ kind, name, isLasting })
            due.set(name, Math.min(due.get(name) ?? Infinity, desk.nowMs + 500))
          } else {
            if (kind === 'withdraw') desk.step({ kind, name })
            else desk.step({ kind: 'seen', name, news: undefined })
            due.delete(name)
          }
          for (const [one, byMs] of due) {
            const times = told(desk, one)
            if (times.some((atMs) => atMs <= byMs && atMs >= byMs - 500)) due.delete(one)
            else expect(desk.nowMs).toBeLessThanOrEqual(byMs)
          }
        }
        for (const name of ['a', 'b']) {
          const times = told(desk, name)
          for (const [index, atMs] of times.entries()) {
            if (index > 0) expect(atMs - (times[index - 1] as number)).toBeGreaterThanOrEqual(500)
          }
        }
      })
    )
  })
})

describe('whatever happens', () => {
  const anyNews = fc.record({
    name: fc.constantFrom('a', 'bb', 'ccc', 'dddd'),
    readyCount: fc.nat(2),
    nextReadyMs: fc.option(fc.nat(3_000), { nil: undefined }),
    mayNeedHelp: fc.boolean(),
    progress: fc.nat(5),
    ageMs: fc.nat(9_000)
  })
  const name = fc.constantFrom('a', 'bb', 'ccc', 'dddd')
  const shard = fc.nat(SHARDS - 1)
  const anyInput: fc.Arbitrary<BoardInput> = fc.oneof(
    fc.record({ kind: fc.constant('room' as const), hasRoom: fc.boolean() }),
    fc.record({ kind: fc.constant('offered' as const), name, readyCount: fc.nat(2) }),
    fc.record({
      kind: fc.constant('listed' as const),
      shard,
      jobs: fc.array(anyNews, { maxLength: 3 })
    }),
    fc.record({ kind: fc.constant('unanswered' as const), shard }),
    anyNews.map((news) => ({ kind: 'seen' as const, name: news.name, news })),
    fc.record({ kind: fc.constant('seen' as const), name, news: fc.constant(undefined) }),
    fc.record({ kind: fc.constant('unseen' as const), name }),
    fc.record({ kind: fc.constant('granted' as const), news: anyNews, taskCount: fc.nat(2) }),
    fc.record({ kind: fc.constant('refused' as const), name })
  )
  const steps = fc.array(fc.tuple(anyInput, fc.nat(2_000)), { maxLength: 80, size: 'max' })

  it('a board asks nobody without room, wakes for what it waits for, and is the same for one seed', () => {
    fc.assert(
      fc.property(steps, fc.nat(), (steps, seed) => {
        const desks = [new Desk(seed), new Desk(seed)] as const
        for (const desk of desks) {
          let hasRoom = false
          for (const [input, ms] of steps) {
            hasRoom = input.kind === 'room' ? input.hasRoom : hasRoom
            const effects = [...desk.step(input), ...desk.pass(ms)]
            if (!hasRoom) {
              expect(kinds(effects)).not.toContain('ask')
              expect(kinds(effects)).not.toContain('choose')
            }
            const { nextMs = Infinity } = desk.board
            expect(nextMs).toBeGreaterThan(desk.nowMs)
          }
        }
        expect(desks[0].effects).toEqual(desks[1].effects)
      })
    )
  })

  it('what may be had is told by the time that it may be', () => {
    fc.assert(
      fc.property(steps, fc.nat(), (steps, seed) => {
        const desk = new Desk(seed)
        desk.room()
        /** Since when something may be had that nobody was told of. */
        let known = new Set<string>()
        for (const [input, ms] of steps) {
          if (input.kind === 'room') continue
          const effects = desk.step(input)
          known = new Set(kinds(effects).includes('choose') ? desk.candidates() : known)
          for (let left = ms; left > 0; left -= 100) {
            const isTold = kinds(desk.pass(Math.min(100, left))).includes('choose')
            if (isTold) known = new Set(desk.candidates())
            for (const one of desk.candidates()) expect(known.has(one)).toBe(true)
          }
        }
      })
    )
  })
})
