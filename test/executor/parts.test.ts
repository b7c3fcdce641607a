// Parts of the executor by themselves.

import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { KIB, MIB } from '../../src/base/units.ts'
import { CodeCache } from '../../src/executor/process/code-cache.ts'
import { FrameChannel, type Frame } from '../../src/executor/process/frame-channel.ts'
import { groupBytes } from '../../src/executor/process/group-memory.ts'
import { MESSAGES, readEnding } from '../../src/executor/process/messages.ts'
import {
  RESTARTS_MAX,
  RESTARTS_WITHIN_MS,
  RestartLimit
} from '../../src/executor/process/restart-limit.ts'
import { until } from './processes.ts'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

describe('RestartLimit', () => {
  it('waits longer each time that too many have ended, up to a minute', () => {
    const limit = new RestartLimit()
    const delays: number[] = []
    let nowMs = 0
    for (let round = 0; round < 14; round++) {
      const delayMs = limit.ended(nowMs)
      delays.push(delayMs)
      nowMs += delayMs
    }

    expect(delays.slice(0, RESTARTS_MAX)).toEqual([0, 0, 0, 0, 1_000])
    expect(Math.max(...delays)).toBeLessThanOrEqual(60_000)
    expect(delays.toSorted((a, b) => b - a)[0]).toBeGreaterThanOrEqual(8_000)
  })

  it('forgets what is long ago', () => {
    const limit = new RestartLimit()
    const delays = Array.from({ length: 20 }, (_, n) => limit.ended(n * RESTARTS_WITHIN_MS))

    expect(delays.every((delayMs) => delayMs === 0)).toBe(true)
  })
})

/** Two ends of a channel, with what crosses it cut into pieces. */
function pair(pieceBytes: number): { near: FrameChannel; frames: Frame[]; closed: () => boolean } {
  const wire = new PassThrough()
  const frames: Frame[] = []
  let isClosed = false
  const cut = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of wire as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += pieceBytes)
        yield chunk.subarray(at, at + pieceBytes)
    }
  }
  const handlers = { onFrame: () => {}, onClose: () => {} }
  const near = new FrameChannel(Duplex.from({ writable: wire }), handlers)
  const far = Duplex.from({ readable: Duplex.from(cut()) })
  void new FrameChannel(far, {
    onFrame: (frame) => frames.push(frame),
    onClose: () => (isClosed = true)
  })
  return { near, frames, closed: () => isClosed }
}

describe('FrameChannel', () => {
  it.each([1, 3, 9, 10, 1_000, 64 * KIB])(
    'puts pieces of %i bytes together',
    async (pieceBytes) => {
      const { near, frames } = pair(pieceBytes)
      const sizes = [0, 1, 5, 100, 20_000, 3, 70_000, 0]

      sizes.forEach((size, number) => {
        const half = size >> 1
        near.send(number + 1, number, Buffer.alloc(half, number), Buffer.alloc(size - half, number))
      })
      await until('all frames arrive', () => frames.length === sizes.length)

      frames.forEach(({ kind, number, payload }, index) => {
        expect([kind, number, payload.length]).toEqual([index + 1, index, sizes[index]])
        expect(payload.every((byte) => byte === index)).toBe(true)
      })
    }
  )

  it('closes when a frame is longer than any, and allocates nothing for it', async () => {
    const stream = new PassThrough()
    const frames: Frame[] = []
    let isClosed = false
    void new FrameChannel(stream, {
      onFrame: (frame) => frames.push(frame),
      onClose: () => (isClosed = true)
    })

    stream.push(Buffer.from('ffffffff0100000000', 'hex'))
    await sleep(0)

    expect(isClosed).toBe(true)
    expect(frames).toEqual([])
  })

  it('goes as one write what is sent in a turn', async () => {
    const writes: number[] = []
    const stream = new Duplex({
      read() {},
      write(chunk: Buffer, _, done) {
        writes.push(chunk.length)
        done()
      }
    })
    const channel = new FrameChannel(stream, { onFrame: () => {}, onClose: () => {} })

    for (let n = 0; n < 100; n++) channel.send(1, n, Buffer.alloc(10))
    await until('it is written', () => writes.length > 0)

    expect(writes).toEqual([100 * 19])
  })
})

describe('readEnding()', () => {
  it('believes nothing that is malformed', () => {
    const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
    const error = { code: 'task-failed', message: 'x'.repeat(5_000), stack: 'y'.repeat(50_000) }
    const good = readEnding(MESSAGES.failed, json({ error, isRetryable: true, durationMs: 1 }))

    expect(good).toMatchObject({ kind: 'failed', isRetryable: true })
    expect(good?.kind === 'failed' && good.error.message.length).toBe(1_024)
    expect(good?.kind === 'failed' && good.error.stack?.length).toBe(8_192)
    for (const wrong of [
      null,
      7,
      {},
      { error: { ...error, code: 'toString' }, durationMs: 1 },
      { error: { ...error, code: 7 }, durationMs: 1 },
      { error: { code: 'task-failed' }, durationMs: 1 },
      { error, durationMs: 'long' }
    ]) {
      expect(readEnding(MESSAGES.failed, json(wrong))).toBeUndefined()
    }
    expect(readEnding(MESSAGES.failed, Buffer.from('{'))).toBeUndefined()
    expect(readEnding(MESSAGES.done, Buffer.alloc(7))).toBeUndefined()
  })
})

describe('CodeCache', () => {
  it('keeps so much, drops what was used last longest ago, and nothing that is in use', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'atoll-cache-'))
    const bytes = Buffer.alloc(10 * MIB)
    const cache = new CodeCache(async () => await Promise.resolve(bytes), join(folder, 'code'))
    await cache.prepare()
    const { signal } = new AbortController()
    const code = (n: number) => ({ kind: 'bundle', cid: `c${n}` }) as const

    await cache.load(code(0), signal)
    for (let n = 1; n < 40; n++) {
      await cache.load(code(n), signal)
      if (n !== 1) cache.release(code(n))
    }

    const names = await readdir(cache.folder)
    expect(names).toHaveLength(25)
    expect(names).toContain('c0.mjs')
    expect(names).toContain('c1.mjs')
    expect(names).toContain('c39.mjs')
    expect(cache.use(code(2))).toBeUndefined()
    expect(cache.use(code(39))).toBe(join(cache.folder, 'c39.mjs'))
    await cache.remove()
    expect(await readdir(folder)).toEqual([])
    await rm(folder, { recursive: true })
  })
})

describe('groupBytes()', () => {
  it('sums what the processes of a group hold', async () => {
    if (process.platform !== 'linux') return
    expect(await groupBytes(2 ** 30)).toBe(0)
    const own = Number(
      (await import('node:child_process')).execFileSync('ps', [
        '-o',
        'pgid=',
        '-p',
        String(process.pid)
      ])
    )
    expect(await groupBytes(own)).toBeGreaterThan(process.memoryUsage.rss() / 2)
  })
})
