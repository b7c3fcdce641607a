import { describe, expect, it } from 'vitest'
import { Recorder, eventsOfJsonLines, operationsOf } from './history.ts'

function recorded(): Recorder {
  let now = 0
  const recorder = new Recorder(() => (now += 10))
  const write = recorder.begin('c1', 'x', { kind: 'write', value: 'a' })
  const read = recorder.begin('c2', 'x', { kind: 'read' })
  const refused = recorder.begin('c3', 'y', { kind: 'delete' })
  recorder.ok(read, { value: null })
  recorder.fail(refused, 'the space is wrong')
  recorder.unknown(write, 'timeout')
  recorder.begin('c1', 'x', { kind: 'read' })
  return recorder
}

describe('Recorder', () => {
  it('writes down what was asked and told, and when', () => {
    expect(recorded().toJsonLines().split('\n').slice(0, 4)).toEqual([
      '{"event":"begin","id":1,"client":"c1","key":"x","input":{"kind":"write","value":"a"},"atMs":10}',
      '{"event":"begin","id":2,"client":"c2","key":"x","input":{"kind":"read"},"atMs":20}',
      '{"event":"begin","id":3,"client":"c3","key":"y","input":{"kind":"delete"},"atMs":30}',
      '{"event":"ok","id":2,"output":{"value":null},"atMs":40}'
    ])
  })

  it('comes back from JSON lines', () => {
    const recorder = recorded()
    expect(eventsOfJsonLines(recorder.toJsonLines())).toEqual(recorder.events)
  })

  it('refuses a second end, and the end of nothing', () => {
    const recorder = new Recorder()
    const id = recorder.begin('c1', 'x', {})
    recorder.ok(id, {})
    expect(() => recorder.unknown(id, 'late')).toThrow("Operation 1 isn't under way")
    expect(() => recorder.ok(7, {})).toThrow("Operation 7 isn't under way")
  })
})

describe('eventsOfJsonLines()', () => {
  it('names the line that is no event', () => {
    const [first] = recorded().toJsonLines().split('\n')
    expect(() => eventsOfJsonLines(`${first}\n{"event":`)).toThrow('Line 2')
    expect(() => eventsOfJsonLines(`${first}\n{"event":"end","id":1}`)).toThrow('Line 2')
  })
})

describe('operationsOf()', () => {
  it('leaves out what failed, and takes what has no end for unknown', () => {
    const operations = operationsOf(recorded().events)
    expect(operations).toEqual([
      {
        id: 1,
        client: 'c1',
        key: 'x',
        input: { kind: 'write', value: 'a' },
        output: undefined,
        call: 0,
        return: Number.POSITIVE_INFINITY
      },
      {
        id: 2,
        client: 'c2',
        key: 'x',
        input: { kind: 'read' },
        output: { value: null },
        call: 1,
        return: 3
      },
      {
        id: 4,
        client: 'c1',
        key: 'x',
        input: { kind: 'read' },
        output: undefined,
        call: 6,
        return: Number.POSITIVE_INFINITY
      }
    ])
  })

  it('refuses a history that ends an operation twice or before it begins', () => {
    const { events } = recorded()
    const [begin, , , ok] = events
    if (begin === undefined || ok === undefined) throw new Error('There are events')
    expect(() => operationsOf([...events, ok])).toThrow('Operation 2 ends twice')
    const early = { event: 'ok', id: 1, output: {}, atMs: 0 } as const
    expect(() => operationsOf([early, begin])).toThrow('Operation 1 ends before it begins')
  })
})
