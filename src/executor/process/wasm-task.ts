// A task in engine. It sees nothing but its input: no imports, besides a way to log and a
// memory of a limited size.

import { readFile } from 'node:fs/promises'
import { MeshError, errorMessage } from '../../base/errors.ts'
import { LOG_LINE_BYTES_MAX } from '../executor.ts'
import type { ThreadJob } from './thread-messages.ts'
import { engine, type WasmMemory, type WasmModule } from './wasm-engine.ts'
import { WASM_PAGE_BYTES, cappedModule, type PageLimits } from './wasm-module.ts'

/** Compiled modules that a thread keeps. */
const MODULES_MAX = 8
/** A trap with this part of the memory in use is believed to come of the limit. */
const FULL_PART = 0.5

type Compiled = { readonly module: WasmModule; readonly imported: PageLimits | undefined }
type Exports = {
  readonly memory: WasmMemory
  readonly alloc: (length: number) => number
  readonly run: (pointer: number, length: number) => bigint
}

const compiled = new Map<string, Compiled>()

/**
 * @returns what the module's `run` answered
 * @throws invalid-code, invalid-result, task-memory, task-failed
 */
export async function runWasm(job: ThreadJob, log: (text: string) => void): Promise<Uint8Array> {
  const pagesMax = Math.min(65_536, Math.floor(job.memoryBytes / WASM_PAGE_BYTES))
  const { module, imported } = await compile(job.path, pagesMax)
  checkInterface(module)
  const found: { memory: WasmMemory | undefined } = { memory: undefined }
  const env: Record<string, unknown> = {
    log: (pointer: number, length: number) => {
      const bounded = Math.min(length >>> 0, LOG_LINE_BYTES_MAX)
      if (found.memory !== undefined) {
        log(new TextDecoder().decode(slice(found.memory, pointer >>> 0, bounded)))
      }
    }
  }
  if (imported !== undefined) {
    const { minimum: initial, maximum } = imported
    const memory = new engine.Memory({ initial, maximum })
    env['memory'] = memory
    found.memory = memory
  }
  try {
    const instance = new engine.Instance(module, { env })
    const exports = instance.exports as unknown as Exports
    found.memory = exports.memory
    return answerOf(exports, job.input)
  } catch (error) {
    throw trapped(error, found.memory, pagesMax)
  }
}

function answerOf({ memory, alloc, run }: Exports, input: Uint8Array): Uint8Array {
  const pointer = alloc(input.length) >>> 0
  slice(memory, pointer, input.length).set(input)
  const packed: unknown = run(pointer | 0, input.length)
  if (typeof packed !== 'bigint') {
    throw new MeshError('invalid-code', 'The module\'s "run" must return an i64')
  }
  const bits = BigInt.asUintN(64, packed)
  return slice(memory, Number(bits >> 32n), Number(bits & 0xffff_ffffn)).slice()
}

/** A part of the memory as it is now: it moves when it grows. */
function slice(memory: WasmMemory, pointer: number, length: number): Uint8Array {
  if (pointer + length > memory.buffer.byteLength) {
    const size = `${length} bytes at ${pointer}, of ${memory.buffer.byteLength}`
    throw new MeshError('invalid-result', `The module named bytes outside of its memory: ${size}`)
  }
  return new Uint8Array(memory.buffer, pointer, length)
}

async function compile(path: string, pagesMax: number): Promise<Compiled> {
  const key = `${pagesMax} ${path}`
  const known = compiled.get(key)
  if (known !== undefined) return known
  const { bytes, imported } = cappedModule(await readFile(path), pagesMax)
  let module: WasmModule
  try {
    module = await engine.compile(bytes)
  } catch (error) {
    const message = `The module can't be compiled: ${errorMessage(error)}`
    throw new MeshError('invalid-code', message, { cause: error })
  }
  const [oldest] = compiled.keys()
  if (oldest !== undefined && compiled.size >= MODULES_MAX) compiled.delete(oldest)
  const entry = { module, imported }
  compiled.set(key, entry)
  return entry
}

function checkInterface(module: WasmModule): void {
  const foreign = engine.Module.imports(module).find(
    ({ module: from, name, kind }) =>
      !(from === 'env' && ((name === 'log' && kind === 'function') || kind === 'memory'))
  )
  if (foreign !== undefined) {
    const wanted = `${foreign.module}.${foreign.name} (${foreign.kind})`
    const offer = 'env.log(pointer, length) and env.memory are all that there is'
    throw new MeshError('invalid-code', `The module imports ${wanted}; ${offer}`)
  }
  const exported = engine.Module.exports(module)
  for (const [name, kind] of [
    ['memory', 'memory'],
    ['alloc', 'function'],
    ['run', 'function']
  ]) {
    if (exported.some((one) => one.name === name && one.kind === kind)) continue
    throw new MeshError('invalid-code', `The module doesn't export the ${kind} "${name}"`)
  }
}

function trapped(error: unknown, memory: WasmMemory | undefined, pagesMax: number): MeshError {
  if (error instanceof MeshError) return error
  const held = memory?.buffer.byteLength ?? 0
  const limit = pagesMax * WASM_PAGE_BYTES
  const isFull = error instanceof engine.RuntimeError && held > limit * FULL_PART
  const message = `${errorMessage(error)} (${held} bytes of memory, of ${limit})`
  return new MeshError(isFull ? 'task-memory' : 'task-failed', message, { cause: error })
}
