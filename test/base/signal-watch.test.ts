import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { SignalWatch } from '../../src/base/signal-watch.ts'

describe('a watch of signals', () => {
  const told: string[] = []
  const tell = (item: string): void => {
    told.push(item)
  }

  it('tells of all that wait for one, once, in order, with one listener', () => {
    told.length = 0
    const watch = new SignalWatch<string>(tell)
    const one = new AbortController()
    const other = new AbortController()
    for (const item of ['a', 'b', 'c']) watch.add(one.signal, item)
    watch.add(other.signal, 'd')
    expect(getEventListeners(one.signal, 'abort')).toHaveLength(1)
    watch.delete(one.signal, 'b')
    one.abort()
    expect(told).toEqual(['a', 'c'])
    watch.delete(one.signal, 'a')
    other.abort()
    expect(told).toEqual(['a', 'c', 'd'])
  })

  it('leaves nothing behind at a signal that nobody waits for, and watches it again', () => {
    told.length = 0
    const watch = new SignalWatch<string>(tell)
    const controller = new AbortController()
    watch.add(controller.signal, 'a')
    watch.delete(controller.signal, 'a')
    watch.delete(controller.signal, 'a')
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
    watch.add(controller.signal, 'b')
    controller.abort()
    expect(told).toEqual(['b'])
  })

  it('passes over what another one has ended meanwhile', () => {
    told.length = 0
    const controller = new AbortController()
    const watch: SignalWatch<string> = new SignalWatch((item) => {
      tell(item)
      watch.delete(controller.signal, 'b')
    })
    for (const item of ['a', 'b', 'c']) watch.add(controller.signal, item)
    controller.abort()
    expect(told).toEqual(['a', 'c'])
  })
})
