// Do the tests of the consensus core find what they are there for? Puts each bug of `list.ts` into a
// copy of the source, runs the tests there, and prints which bugs lived.
//
//   npm run raft:mutants                     all of them
//   npm run raft:mutants -- figure twice     those with one of the words in their names
//   npm run raft:mutants -- --gate tests     with one of the gates alone: tests, simulation

import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { MUTANTS } from './list.ts'
import type { Mutant } from './list.ts'

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url))
const COPIED = ['src', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts']
/** A bug that makes a test run on forever is found too. */
const GATE_MS_MAX = 240_000

/** What is run, the quick first. The core's tests have the outside data too, where that is there. */
const GATES: readonly { readonly name: string; readonly words: readonly string[] }[] = [
  {
    name: 'tests',
    words: ['node_modules/.bin/vitest', 'run', '--project', 'unit', '--bail', '1', 'test/core/raft']
  },
  { name: 'simulation', words: ['test/sim/run.ts', '--only', 'raft', '--seeds', '400', '--bail'] }
]

type Outcome = { readonly code: number | 'hung'; readonly output: string }

/** Copies of the repository, one for each process that runs at a time. */
class Copy {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  static async create(): Promise<Copy> {
    const folder = await mkdtemp(join(tmpdir(), 'atoll-mutants-'))
    for (const name of COPIED) await cp(join(ROOT, name), join(folder, name), { recursive: true })
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    return new Copy(folder)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }

  /** Runs a gate in a process group of its own, so that nothing of it is left behind. */
  async run(words: readonly string[]): Promise<Outcome> {
    const dataFolder = process.env['RAFT_TESTDATA'] ?? join(ROOT, '../shared/raft/testdata')
    const child = spawn(process.execPath, [...words], {
      cwd: this.folder,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, RAFT_TESTDATA: dataFolder, NO_COLOR: '1' }
    })
    const output: string[] = []
    child.stdout.on('data', (data: Buffer) => output.push(String(data)))
    child.stderr.on('data', (data: Buffer) => output.push(String(data)))
    const stop = (): void => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL')
    }
    process.once('exit', stop)
    let isHung = false
    const timer = setTimeout(() => {
      isHung = true
      stop()
    }, GATE_MS_MAX)
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) => resolve(code ?? 1))
    })
    clearTimeout(timer)
    process.off('exit', stop)
    return { code: isHung ? 'hung' : code, output: output.join('') }
  }

  /** @returns the gate that found the bug; undefined when none did */
  async try({ file, from, to }: Mutant, gates: typeof GATES): Promise<string | undefined> {
    const path = join(this.folder, 'src/core/raft', file)
    const source = await readFile(path, 'utf8')
    await writeFile(
      path,
      source.replace(from, () => to)
    )
    try {
      for (const { name, words } of gates) {
        const { code } = await this.run(words)
        if (code !== 0) return code === 'hung' ? `${name}, by running on` : name
      }
      return undefined
    } finally {
      await writeFile(path, source)
    }
  }
}

/** Throws for an entry of the list that doesn't fit the source any more. */
async function checkList(mutants: readonly Mutant[]): Promise<void> {
  const names = new Set(mutants.map(({ name }) => name))
  if (names.size !== mutants.length) throw new Error('Two mutants have one name')
  for (const { name, file, from } of mutants) {
    const source = await readFile(join(ROOT, 'src/core/raft', file), 'utf8')
    const count = source.split(from).length - 1
    if (count !== 1) throw new Error(`"${name}": its text is ${count} times in ${file}, not once`)
  }
}

async function main(): Promise<void> {
  await checkList(MUTANTS)
  const { values, positionals: words } = parseArgs({
    options: { gate: { type: 'string' } },
    allowPositionals: true
  })
  const gates = GATES.filter(({ name }) => values.gate === undefined || values.gate === name)
  if (gates.length === 0) throw new Error(`There is no gate "${values.gate}"`)
  const wanted = MUTANTS.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word))
  )
  const survivors: string[] = []
  await using first = await Copy.create()
  for (const { name, words } of gates) {
    const { code, output } = await first.run(words)
    if (code === 0) continue
    throw new Error(`Without any bug the gate "${name}" fails already:\n${output.slice(-4_000)}`)
  }
  const waiting = [...wanted]
  const work = async (copy: Copy): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const gate = await copy.try(mutant, gates)
      if (gate === undefined) survivors.push(mutant.name)
      const verdict = gate === undefined ? 'SURVIVED' : `killed by ${gate}`
      process.stdout.write(`${verdict}: ${mutant.name}\n`)
    }
  }
  if (availableParallelism() > 1) {
    await using second = await Copy.create()
    await Promise.all([work(first), work(second)])
  } else {
    await work(first)
  }
  process.stdout.write(`${wanted.length - survivors.length} of ${wanted.length} killed\n`)
  for (const name of survivors) process.stdout.write(`survived: ${name}\n`)
  if (survivors.length > 0 || wanted.length === 0) process.exitCode = 1
}

await main()
