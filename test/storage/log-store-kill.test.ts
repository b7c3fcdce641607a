// A real process and kill -9: what it said is durable is there.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

import { nodeFileOps } from '../../src/storage/file/file-ops.ts'
import { contentOf } from '../conformance/log-store.ts'
import { openLogOn } from './log-store-harness.ts'

const WRITER = fileURLToPath(new URL('write-log.ts', import.meta.url))

it('a log store whose process was killed has all that it acknowledged', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'atoll-log-'))
  const said = new Map<number, number>()
  for (const lineCount of [200, 900, 1_500]) {
    const writer = spawn(process.execPath, [WRITER, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(writer, 'exit')
    let lines = 0
    for await (const line of createInterface({ input: writer.stdout })) {
      const [group = Number.NaN, index = Number.NaN] = line.split(' ').map(Number)
      said.set(group, index)
      lines += 1
      if (lines === lineCount) writer.kill('SIGKILL')
    }
    await exited

    const store = await openLogOn(nodeFileOps, { dir, segmentBytes: 256 * 1_024 })
    for (const [group, index] of said) {
      const log = store.group(group)
      expect(log.lastIndex()).toBeGreaterThanOrEqual(index)
      for (const { index: found, type, ...rest } of contentOf(log)) {
        expect(type === 'normal' && 'data' in rest && rest.data).toEqual(
          new Uint8Array(500).fill(found & 0xff)
        )
      }
    }
    await store.close()
  }
  expect([...said.keys()].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3])
  await rm(dir, { recursive: true })
}, 60_000)
