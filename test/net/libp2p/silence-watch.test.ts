import type { Connection, Stream } from '@libp2p/interface'
import { expect, it } from 'vitest'
import { SilenceWatch } from '../../../src/net/libp2p/silence-watch.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'

type Line = { connection: Connection; asked: number; error: Error | undefined; carry(): void }

/** A connection whose every new stream fails, and that may carry something on an old one. */
function line(watch: () => SilenceWatch): Line {
  const stream = new EventTarget()
  const it: Line = {
    connection: {
      newStream: async () => {
        it.asked += 1
        throw new Error('nobody answers')
      },
      abort: (error: Error) => {
        it.error = error
      }
    } as unknown as Connection,
    asked: 0,
    error: undefined,
    carry: () => stream.dispatchEvent(new Event('message'))
  }
  watch().follow(stream as unknown as Stream, it.connection)
  return it
}

it('a connection on which nothing came is asked, and given up when there is no answer', async () => {
  const clock = new VirtualClock()
  const lines: Line[] = []
  const watch = new SilenceWatch(clock, () => lines.map(({ connection }) => connection))
  const [busy, cut] = [line(() => watch), line(() => watch)]
  lines.push(busy, cut)
  watch.start()

  for (let second = 0; second < 10; second++) {
    busy.carry()
    if (second < 3) cut.carry()
    await clock.advance(1_000)
    if (second < 3) expect(cut.asked).toBe(0)
  }

  expect(busy).toMatchObject({ asked: 0, error: undefined })
  expect(cut.asked).toBeGreaterThan(0)
  expect(cut.error?.message).toContain('nobody answers')
  watch.stop()
})
