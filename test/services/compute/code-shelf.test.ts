// Code that programs bring: there for whoever runs it, and gone when nobody can need it any more.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../../src/base/bytes.ts'
import { LIST } from '../../../src/core/machine/file-queries.ts'
import { JOB_CANCEL, JOB_REMOVE, JOB_SUBMIT } from '../../../src/core/machine/job-calls.ts'
import { CODE_KNOWN_MS, CodeShelf } from '../../../src/services/compute/code-shelf.ts'
import { CODE_GENERATION_MS, sweepCode } from '../../../src/services/compute/code-sweep.ts'
import { encodeSpec } from '../../../src/services/compute/spec.ts'
import type { CodeRef } from '../../../src/wire/job.ts'
import { submitArgs } from '../../core/machine/job-shard.ts'
import { FileMesh } from '../files/file-mesh.ts'
import { request } from './work-mesh.ts'

const { signal } = new AbortController()
const RARE = utf8('export const rare = 1')
const USUAL = utf8('export const usual = 1')
const space = utf8('~dag')

describe('the shelf of code', () => {
  let mesh: FileMesh
  let shelf: CodeShelf
  /** Which nobody but this test may move. */
  const clock = { nowMs: 0 }

  beforeEach(async () => {
    mesh = await FileMesh.start(3)
    shelf = newShelf()
  })

  afterEach(() => {
    mesh.shards.stop()
  })

  const newShelf = (): CodeShelf => {
    const { files } = mesh.peer(0)
    const monotonicMs = (): number => clock.nowMs
    return new CodeShelf({ files, clock: { monotonicMs } })
  }
  const keep = async (code: Uint8Array): Promise<string> => await mesh.run(shelf.keep(code))
  const sweep = async (timeMs: number): Promise<void> => {
    const { files } = mesh.peer(1)
    await mesh.run(sweepCode({ shards: mesh.shards, files }, timeMs, { signal }))
  }

  /** When each generation was made. */
  const generations = async (): Promise<Map<string, number>> => {
    const volume = utf8('.code')
    const args = { volume, names: [], inode: undefined, after: undefined, limit: 99 }
    const { result } = await mesh.run(mesh.shards.query({ space: volume }, LIST, args))
    return new Map(result.entries.map(({ name, entry }) => [fromUtf8(name), entry.createdMs]))
  }

  /** The names of what is there, with their generations. */
  const kept = async (): Promise<string[]> => {
    const names: string[] = []
    for (const generation of (await generations()).keys()) {
      for await (const { name } of mesh.peer(0).files.ls(`.code/${generation}`)) {
        names.push(`${generation}/${name}`)
      }
    }
    return names
  }

  /** Lets one generation after the other come and go, each as soon as it may. */
  const turn = async (): Promise<void> => {
    const newest = [...(await generations()).values()].at(-1) as number
    await sweep(newest + CODE_GENERATION_MS)
  }

  /** A job of two stages, the second of which has code of its own. */
  const submitted = (first: string, second: string): Parameters<typeof encodeSpec>[0] => {
    const code = (cid: string): CodeRef => ({ kind: 'bundle', cid })
    const { limits, requirements } = request('dag', 1)
    const stage = { name: 'second', isOne: true, run: { task: 'b', code: code(second) } }
    const stages = [{ name: 'first', isOne: true }, stage]
    const manifest = { kind: 'inline', inputs: [] } as const
    return { task: 'a', code: code(first), limits, requirements, manifest, stages }
  }

  it('keeps code in the newest generation, once', async () => {
    const cid = await keep(RARE)
    expect(await mesh.run(newShelf().keep(RARE))).toBe(cid)
    expect(await kept()).toEqual([`1/${cid}`])
  })

  it('removes what was in no generation but one that is old, and no sooner', async () => {
    const rare = await keep(RARE)
    const usual = await keep(USUAL)
    const madeMs = (await generations()).get('1') as number
    await sweep(madeMs + CODE_GENERATION_MS - 1)
    expect([...(await generations()).keys()]).toEqual(['1'])
    await sweep(madeMs + CODE_GENERATION_MS)
    expect([...(await generations()).keys()]).toEqual(['1', '2'])

    // A program that goes on for long looks again after a while.
    clock.nowMs += CODE_KNOWN_MS - 1
    expect(shelf.has(usual)).toBe(true)
    await keep(USUAL)
    expect(await kept()).not.toContain(`2/${usual}`)
    clock.nowMs += 1
    expect(shelf.has(usual)).toBe(false)
    await keep(USUAL)
    expect(await kept()).toContain(`2/${usual}`)

    const nextMs = (await generations()).get('2') as number
    await sweep(nextMs + CODE_GENERATION_MS - 1)
    expect(await kept()).toContain(`1/${rare}`)
    await sweep(nextMs + CODE_GENERATION_MS)
    expect(await kept()).toEqual([`2/${usual}`])
    // Blocks that nothing names are collected as those of any file.
    await mesh.cycles(3)
    expect(await mesh.read(usual)).toEqual(USUAL)
    expect(await mesh.codeOf(mesh.read(rare))).toBe('not-found')
  })

  it('leaves what a job names that is still there, whichever of its stages', async () => {
    const [rare, usual] = [await keep(RARE), await keep(USUAL)]
    const spec = encodeSpec(submitted(rare, usual))
    const args = submitArgs({ count: 1, spec })
    await mesh.run(mesh.shards.execute({ space }, JOB_SUBMIT, args))
    await mesh.run(mesh.shards.execute({ space }, JOB_CANCEL, undefined))
    for (let round = 0; round < 5; round++) await turn()
    const cids = (await kept()).map((name) => name.slice(name.indexOf('/') + 1))
    expect(cids.toSorted()).toEqual([rare, usual].toSorted())

    await mesh.run(mesh.shards.execute({ space }, JOB_REMOVE, { limit: 9 }))
    for (let round = 0; round < 3; round++) await turn()
    expect(await kept()).toEqual([])
  })

  it('removes nothing while a shard with jobs does not answer', async () => {
    const cid = await keep(RARE)
    await turn()
    const { files } = mesh.peer(0)
    await keep(USUAL)
    mesh.shards.faults = (name) => (name === 'job.list' ? 'lost-request' : undefined)
    const timeMs = ((await generations()).get('2') as number) + CODE_GENERATION_MS
    const swept = sweepCode({ shards: mesh.shards, files }, timeMs, { signal })
    expect(await mesh.codeOf(swept)).toBe('timeout')
    expect(await kept()).toContain(`1/${cid}`)
  })

  it('writes nothing when there is nothing to do', async () => {
    await keep(RARE)
    for (let round = 0; round < 3; round++) await turn()
    const { calls } = mesh.shards
    const { length } = calls
    for (let round = 0; round < 3; round++) await turn()
    const written = calls.slice(length).filter((name) => !/list|stat|get/.test(name))
    expect(written).toEqual([])
  })
})
