import { describe, expect, it } from 'vitest'
import { peerId, sessionId } from '../../src/base/ids.ts'
import { Sessions } from '../../src/mesh/sessions.ts'

const peer = peerId('12D3KooWpeer')
const [first, second, third] = ['1', '2', '3'].map((digit) => sessionId(digit.repeat(16))) as [
  ReturnType<typeof sessionId>,
  ReturnType<typeof sessionId>,
  ReturnType<typeof sessionId>
]

describe('H-7 Sessions', () => {
  it('takes a restart for a restart, however often', () => {
    const sessions = new Sessions()

    expect([first, first, second, third].map((session) => sessions.note(peer, session))).toEqual([
      'same',
      'same',
      'changed',
      'changed'
    ])
    expect(sessions.rivalOf(peer, third)).toBeUndefined()
  })

  it('knows two that run at once by the older one that speaks again', () => {
    const sessions = new Sessions()
    sessions.note(peer, first)
    sessions.note(peer, second)

    expect(sessions.note(peer, first)).toBe('cloned')

    expect(sessions.rivalOf(peer, first)).toBe(second)
    expect(sessions.rivalOf(peer, second)).toBe(first)
    expect(sessions.rivalOf(peerId('other'), first)).toBeUndefined()
  })

  it('lets the peer in again with a new session', () => {
    const sessions = new Sessions()
    for (const session of [first, second, first]) sessions.note(peer, session)

    expect(sessions.note(peer, third)).toBe('same')

    expect(sessions.rivalOf(peer, third)).toBeUndefined()
    expect(sessions.rivalOf(peer, first)).toBeUndefined()
  })

  it('forgets the past of a peer when its last connection ends', () => {
    const sessions = new Sessions()
    sessions.note(peer, first)
    sessions.note(peer, second)
    sessions.disconnected(peer)

    expect(sessions.note(peer, first)).toBe('same')
  })

  it('keeps a bounded past of a peer that changes its session all the time', () => {
    const sessions = new Sessions()
    const many = Array.from({ length: 1_000 }, (_, index) =>
      sessionId(index.toString(16).padStart(16, '0'))
    )
    for (const session of many) sessions.note(peer, session)

    expect(sessions.note(peer, many[0] as typeof first)).toBe('changed')
    expect(sessions.note(peer, many.at(-2) as typeof first)).toBe('cloned')
  })
})
