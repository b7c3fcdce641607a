import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ReplayWindow } from '../../../src/core/streams/replay-window.ts'

const OPTIONS = { pendingMax: 8, timeoutMs: 100, triesMax: 3, firstRoot: 1_000 }
const IDS = { high: 1, low: 2 }

/** Emits a value. @returns its root */
function emit(window: ReplayWindow<unknown, unknown>, sequence: number, nowMs: number): number {
  const root = window.nextRoot()
  window.begin(sequence, { root, ids: IDS }, nowMs)
  return root
}

describe('ReplayWindow', () => {
  it('knows the last mark before which everything is done', () => {
    const window = new ReplayWindow<string, string>(OPTIONS)
    const roots = ['a', 'b', 'c'].map((value) => {
      const root = emit(window, window.add(value), 0)
      window.mark(`after ${value}`)
      return root
    }) as [number, number, number]
    expect(window.position).toBeUndefined()

    window.xor(roots[1], IDS, 0)
    expect(window.position).toBeUndefined()
    window.xor(roots[0], IDS, 0)
    expect(window.position).toBe('after b')
    window.xor(roots[2], IDS, 0)
    expect(window.position).toBe('after c')
    expect(window.pending).toBe(0)
  })

  it('emits again what failed or is late, with another root, and hears no more of the old one', () => {
    const window = new ReplayWindow<string, string>(OPTIONS)
    const one = emit(window, window.add('one'), 0)
    const two = emit(window, window.add('two'), 0)
    window.fail(two)
    expect(window.takeReplays(50)).toEqual([{ sequence: 1, value: 'two' }])
    const again = emit(window, 1, 50)
    window.xor(two, IDS, 0)
    expect(window.acked).toBe(0)
    window.xor(again, IDS, 0)
    expect(window.acked).toBe(1)
    expect(window.takeReplays(100)).toEqual([{ sequence: 0, value: 'one' }])
    expect(again).toBeGreaterThan(Math.max(one, two))
    expect(window.replayed).toBe(2)
  })

  it('gives up what never succeeds, and goes on behind it', () => {
    const window = new ReplayWindow<string, string>(OPTIONS)
    const sequence = window.add('poison')
    window.mark('behind')
    for (let tries = 0; tries < OPTIONS.triesMax; tries++) {
      window.fail(emit(window, sequence, 0))
      window.takeReplays(0)
    }
    expect(window.givenUp).toBe(1)
    expect(window.pending).toBe(0)
    expect(window.position).toBe('behind')
  })

  it('lets less be under way when it is late, more when it is not, and never more than it may', () => {
    const window = new ReplayWindow<number, number>(OPTIONS)
    const fill = (nowMs: number): number[] => {
      const roots: number[] = []
      while (!window.isFull) roots.push(emit(window, window.add(0), nowMs))
      return roots
    }
    expect(fill(0)).toHaveLength(8)
    const late = window.takeReplays(100)
    expect(late).toHaveLength(8)
    const roots = late.map(({ sequence }) => emit(window, sequence, 100))
    expect(window.isFull).toBe(true)
    // Half of it, and one more for each that is done.
    for (const root of roots.slice(0, 2)) window.xor(root, IDS, 0)
    expect(window.isFull).toBe(true)
    for (const root of roots.slice(2)) window.xor(root, IDS, 0)
    expect(fill(110)).toHaveLength(8)
  })

  it('lets as much be under way as a slow bolt does in time, so that hardly anything comes twice', () => {
    const window = new ReplayWindow<number, number>({
      ...OPTIONS,
      pendingMax: 4_096,
      timeoutMs: 10_000
    })
    // One after the other, 20 ms each: 500 of them would be late.
    const queue: { root: number; nowMs: number }[] = []
    let nowMs = 0
    let value = 0
    while (nowMs < 300_000) {
      for (const { sequence } of window.takeReplays(nowMs)) {
        queue.push({ root: emit(window, sequence, nowMs), nowMs })
      }
      while (!window.isFull) queue.push({ root: emit(window, window.add(value++), nowMs), nowMs })
      nowMs += 20
      const next = queue.shift()
      if (next !== undefined) window.xor(next.root, IDS, nowMs)
    }
    expect(window.acked).toBeGreaterThan(14_900)
    expect(window.replayed).toBe(0)
  })

  it('takes nothing as late that is hastened', () => {
    const window = new ReplayWindow<number, number>(OPTIONS)
    while (!window.isFull) emit(window, window.add(0), 0)
    window.hasten(20)
    const replays = window.takeReplays(20)
    expect(replays).toHaveLength(8)
    for (const { sequence } of replays) window.xor(emit(window, sequence, 20), IDS, 0)
    let count = 0
    for (; !window.isFull; count++) emit(window, window.add(0), 30)
    expect(count).toBe(8)
  })

  it('loses nothing and passes no position too early, whatever happens', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const) }),
      fc.record({ kind: fc.constantFrom('ack' as const, 'fail' as const), pick: fc.nat() }),
      fc.record({ kind: fc.constant('tick' as const), ms: fc.nat(80) }),
      fc.record({ kind: fc.constant('hasten' as const) })
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const window = new ReplayWindow<number, number>({ ...OPTIONS, triesMax: Infinity })
        const open = new Map<number, number>()
        const done = new Set<number>()
        let nowMs = 0
        let added = 0
        const replay = (): void => {
          for (const { sequence, value } of window.takeReplays(nowMs)) {
            expect(done.has(value)).toBe(false)
            for (const [root, other] of open) if (other === value) open.delete(root)
            open.set(emit(window, sequence, nowMs), value)
          }
        }
        const finish = (root: number): void => {
          window.xor(root, IDS, 0)
          done.add(open.get(root) as number)
          open.delete(root)
        }
        for (const one of steps) {
          if (one.kind === 'add' && !window.isFull) {
            const value = added++
            open.set(emit(window, window.add(value), nowMs), value)
            window.mark(added)
          } else if (one.kind === 'tick') {
            nowMs += one.ms
            replay()
          } else if (one.kind === 'hasten') window.hasten(nowMs + 10)
          else if ('pick' in one && open.size > 0) {
            const root = [...open.keys()][one.pick % open.size] as number
            if (one.kind === 'ack') finish(root)
            else {
              window.fail(root)
              replay()
            }
          }
          expect(window.pending).toBeLessThanOrEqual(OPTIONS.pendingMax)
          for (let value = 0; value < (window.position ?? 0); value++) {
            expect(done.has(value)).toBe(true)
          }
        }
        // In the end all of it is done.
        for (let round = 0; window.pending > 0 && round < 1_000; round++) {
          nowMs += OPTIONS.timeoutMs
          replay()
          for (const root of open.keys()) finish(root)
        }
        expect(done.size).toBe(added)
        expect(window.acked).toBe(added)
        if (added > 0) expect(window.position).toBe(added)
      })
    )
  })
})
