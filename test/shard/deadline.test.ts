import { beforeEach, describe, expect, it } from 'vitest'
import { MeshError } from '../../src/base/errors.ts'
import { Deadlines, type Deadline } from '../../src/shard/deadline.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

let clock: VirtualClock
let stopping: AbortController
let caller: AbortController

beforeEach(() => {
  clock = new VirtualClock()
  stopping = new AbortController()
  caller = new AbortController()
})

const deadline = (timeoutMs = 1_000): Deadline =>
  new Deadlines(clock, stopping.signal).start(timeoutMs, caller.signal)

const error = (code: 'timeout' | 'not-leader' | 'overloaded'): MeshError =>
  new MeshError(code, code)

describe('a deadline', () => {
  it('gives what the work gives, and leaves nothing behind', async () => {
    const one = deadline()
    expect(await one.race(Promise.resolve(1))).toBe(1)
    await expect(one.race(Promise.reject(error('not-leader')))).rejects.toMatchObject({
      code: 'not-leader'
    })
    one.throwIfEnded(error('not-leader'))
    one[Symbol.dispose]()
    await clock.advance(5_000)
    caller.abort()
    expect(one.signal.aborted).toBe(false)
  })

  it.each([
    [undefined, 'timeout'],
    ['timeout', 'timeout'],
    ['overloaded', 'overloaded'],
    ['not-leader', 'no-quorum']
  ] as const)('says why it passed: after %s it is %s', async (last, code) => {
    const one = deadline()
    const raced = expect(one.race(new Promise(() => {}))).rejects.toMatchObject({ code: 'timeout' })
    await clock.advance(400)
    expect(one.leftMs()).toBe(600)
    await clock.advance(600)
    await raced
    expect(one.leftMs()).toBe(1)
    const before = last === undefined ? undefined : error(last)
    expect(() => one.throwIfEnded(before)).toThrow(expect.objectContaining({ code }))
    await expect(one.race(Promise.resolve(1))).rejects.toMatchObject({ code: 'timeout' })
    one[Symbol.dispose]()
  })

  it.each([
    [undefined, 'no-quorum'],
    ['timeout', 'no-quorum'],
    ['overloaded', 'overloaded']
  ] as const)('says, where no leader is heard: after %s it is %s', async (last, code) => {
    const one = deadline()
    await clock.advance(1_000)
    const before = last === undefined ? undefined : error(last)
    expect(() => one.throwIfEnded(before, true)).toThrow(expect.objectContaining({ code }))
    one[Symbol.dispose]()
  })

  it.each(['the caller', 'the node'])('ends with the reason of %s', async (who) => {
    const reason = new Error(who)
    const source = who === 'the node' ? stopping : caller
    const one = deadline()
    const raced = expect(one.race(new Promise(() => {}))).rejects.toBe(reason)
    source.abort(reason)
    await raced
    expect(() => one.throwIfEnded(error('not-leader'))).toThrow(reason)
    one[Symbol.dispose]()
  })

  it('is over from the start when its caller has given up before', () => {
    caller.abort(new Error('before'))
    const one = deadline()
    expect(() => one.throwIfEnded(undefined)).toThrow('before')
    one[Symbol.dispose]()
  })
})
