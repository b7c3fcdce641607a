import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MIB } from '../../src/base/units.ts'
import { utf8 } from '../../src/base/bytes.ts'
import type { WorkResult } from '../../src/executor/executor.ts'
import { cappedModule } from '../../src/executor/process/wasm-module.ts'
import { expectFailed } from '../conformance/executor.ts'
import { LIMITS, sampleWork } from './sample-work.ts'
import { createExecutor, type TestExecutor } from './samples.ts'
import {
  ECHO,
  GROW,
  GROW_AND_RETURN,
  LOOP,
  OUTSIDE,
  TRAP,
  wasmModule,
  type WasmOptions
} from './wasm-samples.ts'

const INPUT = utf8('input')

describe('tasks in WebAssembly', () => {
  let sample: TestExecutor
  const lines: string[] = []

  beforeAll(async () => {
    sample = await createExecutor()
    await sample.executor.start()
  })
  afterAll(async () => {
    await sample[Symbol.asyncDispose]()
  })

  async function run(
    module: WasmOptions | Uint8Array,
    limits: Partial<typeof LIMITS> = {}
  ): Promise<WorkResult> {
    const cid = `wasm${sample.codes.size}`
    sample.codes.set(cid, module instanceof Uint8Array ? module : wasmModule(module))
    lines.length = 0
    const code = { kind: 'wasm', cid } as const
    const change = { code, input: INPUT, limits: { ...LIMITS, ...limits } }
    return await sample.executor.run(sampleWork('', null, change), {
      onLog: (line) => lines.push(line)
    })
  }

  it.each([{}, { maximum: 3 }, { isImported: true }, { isImported: true, maximum: 3 }])(
    'get their input, log, and return (%o)',
    async (options) => {
      const result = await run({ ...options, run: ECHO })

      expect(result).toMatchObject({ kind: 'done' })
      expect(result.kind === 'done' && Buffer.from(result.output).toString()).toBe('input')
      expect(lines).toEqual(['input'])
    }
  )

  it.each([{}, { maximum: 60_000 }, { isImported: true }])(
    'grow to what they may hold and no further (%o)',
    async (options) => {
      const result = await run({ ...options, run: GROW_AND_RETURN }, { memoryBytes: 8 * MIB })

      expect(result.kind).toBe('done')
      expectFailed(await run({ ...options, run: GROW }, { memoryBytes: 8 * MIB }), 'task-memory')
    }
  )

  it('end when their time is over', async () => {
    expectFailed(await run({ run: LOOP }, { timeoutMs: 200 }), 'task-timeout')
    expect((await run({ run: ECHO })).kind).toBe('done')
  })

  it('fail by what they do', async () => {
    expectFailed(await run({ run: TRAP }), 'task-failed')
    expectFailed(await run({ run: OUTSIDE }), 'invalid-result')
  })

  it('are refused when they want too much, or are none', async () => {
    expectFailed(await run({ run: ECHO, minimum: 200 }, { memoryBytes: MIB }), 'task-memory')
    expectFailed(
      await run({ run: ECHO, minimum: 200, isImported: true }, { memoryBytes: MIB }),
      'task-memory'
    )
    expectFailed(await run({ run: ECHO, importsClock: true }), 'invalid-code')
    expectFailed(await run(utf8('no module')), 'invalid-code')
    expectFailed(await run(wasmModule({ run: ECHO }).slice(0, 30)), 'invalid-code')
    expectFailed(await run(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)), 'invalid-code')
  })
})

describe('cappedModule()', () => {
  it('refuses memories that it can not bound, and never reads beyond the end', () => {
    const module = wasmModule({ run: ECHO })
    const at = module.findIndex((byte, index) => byte === 5 && module[index + 1] === 3)
    for (const flags of [2, 3, 4, 5, 0x80]) {
      const changed = module.slice()
      changed[at + 3] = flags
      expect(() => cappedModule(changed, 16)).toThrow(/can't be used/)
    }
    for (let length = 0; length < module.length; length++) {
      try {
        cappedModule(module.slice(0, length), 16)
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid-code' })
      }
    }
  })
})
