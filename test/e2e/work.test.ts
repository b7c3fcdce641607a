// Work as a user has it done: the commands, on real nodes.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { atoll, ProcessMesh, until } from './process-mesh.ts'

const PROGRAM = `
export default async (ctx, input) => { ctx.log('got', input); return { doubled: input.n * 2 } }
export const fails = (ctx) => { ctx.log('about to fail'); throw new Error('no luck') }
export const length = async (ctx, file) => {
  let bytes = 0
  for await (const part of ctx.files.get(file.path)) bytes += part.length
  return bytes
}
export const counts = async (ctx, file) => {
  if (file.path.endsWith('bad')) throw new Error('a bad one')
  await ctx.kv.put('seen/' + file.path.replaceAll('/', '-'), 'yes')
  return 1
}
export const sleeps = async (ctx) => { await new Promise((resolve) => setTimeout(resolve, 60_000)) }
`

describe('work by the commands', () => {
  let mesh: ProcessMesh
  let program = ''

  beforeAll(async () => {
    mesh = await ProcessMesh.create(0)
    await mesh.start(0, { words: ['--label', 'camera=front'] })
    await mesh.start(1, { words: ['--allow-exec'] })
    await mesh.start(2)
    await mesh.everybodySees(3)
    program = join(mesh.root, 'program.mjs')
    await writeFile(program, PROGRAM)
    for (const [name, text] of [
      ['one', 'a'],
      ['two', 'bb'],
      ['bad', 'ccc']
    ] as const) {
      const path = join(mesh.root, name)
      await writeFile(path, text)
      await mesh.atoll(0, ['mkdir', 'data'])
      expect((await mesh.atoll(0, ['put', path, `data/${name}`])).code).toBe(0)
    }
  })

  afterAll(async () => {
    await mesh[Symbol.asyncDispose]()
  })

  const json = async (node: number, words: string[]): Promise<unknown[]> => {
    const { stdout } = await mesh.atoll(node, [...words, '--json'])
    const lines = stdout.toString().split('\n')
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown)
  }

  it('runs a function of a file and prints what it returns', async () => {
    const { code, stdout } = await mesh.atoll(2, ['run', program, '--args', '{"n":21}'])
    expect([code, stdout.toString()]).toEqual([0, '{"doubled":42}\n'])
  })

  it('shows what a task printed when it fails, and why', async () => {
    const words = ['run', program, '--name', 'fails', '--retries', '0']
    const { code, stderr } = await mesh.atoll(2, words)
    expect(code).toBe(1)
    expect(stderr).toContain('about to fail')
    expect(stderr).toContain('no luck')
  })

  it('runs a command where a node allows it', async () => {
    const command = ['sh', '-c', 'echo "hello $((6 * 7))"']
    const words = ['run', '--data', mesh.dirOf(0), '--exec', '--', ...command]
    const { code, stdout, stderr } = await atoll(words)
    expect([code, stdout.toString(), stderr]).toEqual([0, 'hello 42\n', ''])
  })

  it('maps over files as a job that is known everywhere', async () => {
    const words = ['map', program, '--name', 'length', '--input', 'data', '--id', 'lengths']
    const lines = (await json(1, words)) as { job?: string; value?: number; state?: string }[]
    expect(lines[0]).toEqual({ job: 'lengths' })
    const values = lines.flatMap(({ value }) => value ?? [])
    expect(values.toSorted((a, b) => a - b)).toEqual([1, 2, 3])
    expect(lines.at(-1)).toEqual({ job: 'lengths', state: 'ended', done: 3, failed: 0 })
    expect(await json(2, ['jobs'])).toContainEqual(
      expect.objectContaining({ job: 'lengths', state: 'ended', total: 3, done: 3 })
    )
    expect(await json(0, ['job', 'results', 'lengths'])).toHaveLength(3)
    // The same again is the same job, and another one of that name is refused.
    expect((await json(2, words)).at(-1)).toMatchObject({ state: 'ended', done: 3 })
    const other = words.map((word) => (word === 'length' ? 'counts' : word))
    expect((await mesh.atoll(2, other)).stderr).toContain('lengths')
  })

  it('gives up what fails again and again, tells why, and tries again when asked', async () => {
    const words = ['map', program, '--name', 'counts', '--input', 'data', '--id', 'some']
    const { code } = await mesh.atoll(1, [...words, '--retries', '1', '--json'])
    expect(code).toBe(1)
    expect(await json(0, ['job', 'dead', 'some'])).toEqual([
      expect.objectContaining({
        code: 'task-failed',
        message: expect.stringContaining('a bad one')
      })
    ])
    expect(await json(2, ['kv', 'list', 'seen/'])).toHaveLength(2)
    expect(await json(0, ['job', 'retry', 'some'])).toEqual([{ job: 'some', count: 1 }])
    const waited = await mesh.atoll(2, ['job', 'wait', 'some', '--json'])
    expect(waited.code).toBe(1)
    expect((await mesh.atoll(2, ['job', 'rm', 'some'])).code).toBe(0)
    expect((await mesh.atoll(2, ['job', 'show', 'some'])).stderr).toContain('no job "some"')
  })

  it('explains why nothing runs, and cancels', async () => {
    const words = [
      'map',
      program,
      '--name',
      'sleeps',
      '--input',
      'data',
      '--id',
      'waits',
      '--detach'
    ]
    expect((await mesh.atoll(0, [...words, '--label', 'camera=back'])).code).toBe(0)
    const [explained] = (await json(1, ['job', 'explain', 'waits'])) as [
      { peers: { reasons: { code: string }[] }[] }
    ]
    expect(explained.peers).toHaveLength(3)
    for (const { reasons } of explained.peers) {
      expect(reasons).toEqual([expect.objectContaining({ code: 'label' })])
    }
    expect((await mesh.atoll(1, ['job', 'cancel', 'waits'])).code).toBe(0)
    expect(await json(2, ['job', 'show', 'waits'])).toEqual([
      expect.objectContaining({ state: 'cancelled' })
    ])
  })

  it('stops what runs when its job is cancelled, so that others have the room', async () => {
    const words = [
      'map',
      program,
      '--name',
      'sleeps',
      '--input',
      'data',
      '--id',
      'long',
      '--detach'
    ]
    expect((await mesh.atoll(0, words)).code).toBe(0)
    await until('it runs', 20_000, async () => {
      const [{ running }] = (await json(1, ['job', 'show', 'long'])) as [{ running: number }]
      return running === 3
    })
    expect((await mesh.atoll(1, ['job', 'cancel', 'long'])).code).toBe(0)
    const next = await mesh.atoll(2, ['run', program, '--args', '{"n":1}'])
    expect(next.code).toBe(0)
  })
})
