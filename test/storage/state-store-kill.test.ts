// A real process and kill -9: every group is as some batch left it, at least what it said is durable.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

import { fromUtf8 } from '../../src/base/bytes.ts'
import { stateAfter } from './state-batches.ts'
import { openStateIn } from './state-store-harness.ts'

const WRITER = fileURLToPath(new URL('write-state.ts', import.meta.url))

it('D-12 a state store whose process was killed has whole batches, and all that were flushed', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'atoll-state-'))
  const said = new Map<number, number>()
  for (const lineCount of [3, 50, 120, 200]) {
    const writer = spawn(process.execPath, [WRITER, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(writer, 'exit')
    let lines = 0
    for await (const line of createInterface({ input: writer.stdout })) {
      const [group = Number.NaN, batch = Number.NaN] = line.split(' ').map(Number)
      said.set(group, batch)
      lines += 1
      if (lines === lineCount) writer.kill('SIGKILL')
    }
    expect(await exited).toEqual([null, 'SIGKILL'])

    const store = await openStateIn(dir)
    expect(store.lost()).toBe(false)
    for (const [id, batch] of said) {
      expect(store.damageOf(id)).toBeUndefined()
      const group = store.group(id)
      const found = Number(fromUtf8(group.note() ?? new Uint8Array(0)))
      expect(found).toBeGreaterThanOrEqual(batch)
      const content = new Map(
        [...group.range({})].map(({ key, value }) => [fromUtf8(key), fromUtf8(value)])
      )
      expect(content).toEqual(stateAfter(found))
    }
    await store.close()
  }
  expect([...said.keys()].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3])
  await rm(dir, { recursive: true })
}, 60_000)
