// Runs folders of data files; see `data-file.ts` for their form.
//
//   npm run raft:conformance -- DIR                      all files of a folder
//   npm run raft:conformance -- DIR --election minimal   with the shortest election timeouts only
//   npm run raft:conformance -- --rewrite                writes this project's own files anew
//
// Without DIR it takes $RAFT_TESTDATA, or ../shared/raft/testdata beside the project.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { parseArgs } from 'node:util'
import { parseCount } from '../../../e2e/arguments.ts'
import { ELECTIONS, OWN_FOLDER, rewrittenFile, runFile, suiteFiles, whereOutside } from './suite.ts'
import type { Election, RunOptions, SuiteFile } from './suite.ts'

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

/** The caller asked for what can't be done. */
class UsageError extends Error {}

type Asked = {
  readonly folder: string | undefined
  readonly elections: readonly Election[]
  readonly seed: number
  readonly rewrites: boolean
}

function parse(): Asked {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      election: { type: 'string' },
      seed: { type: 'string', default: '1' },
      rewrite: { type: 'boolean', default: false }
    }
  })
  const elections = ELECTIONS.filter((name) => (values.election ?? name) === name)
  if (elections.length === 0) {
    throw new UsageError(`--election is one of ${ELECTIONS.join(', ')}, not "${values.election}"`)
  }
  if (positionals.length > 1) throw new UsageError('one folder at a time')
  if (values.rewrite && positionals.length > 0) {
    throw new UsageError("--rewrite takes no folder: only the project's own files are written anew")
  }
  const seed = parseCount('seed', values.seed)
  return { folder: positionals[0], elections, seed, rewrites: values.rewrite }
}

function main(): number {
  const { folder, elections, seed, rewrites } = parse()
  if (rewrites) return rewrite({ election: 'random', seed })
  const { path, isNamed } = whereOutside(folder)
  const files = suiteFiles(path)
  if (files.length > 0) {
    return runAll(
      files,
      elections.map((election) => ({ election, seed }))
    )
  }
  const problem = `${path} ${existsSync(path) ? 'has no data files' : 'does not exist'}`
  if (isNamed) throw new UsageError(problem)
  print(`THE FILES FROM OUTSIDE WERE SKIPPED: ${problem}; name a folder, or set RAFT_TESTDATA`)
  return 0
}

function runAll(files: readonly SuiteFile[], runs: readonly RunOptions[]): number {
  const failed = files.filter((file) => !passes(file, runs)).length
  print(`${files.length - failed} passed, ${failed} failed`)
  return failed === 0 ? 0 : 1
}

/** Prints the first mismatch of the first run that has one. */
function passes(file: SuiteFile, runs: readonly RunOptions[]): boolean {
  for (const run of runs) {
    const mismatch = runFile(file, run)
    if (mismatch === undefined) continue
    const { line, directive, expected, actual } = mismatch
    print(`FAILED ${file.path}:${line}: ${directive}, with ${run.election} election timeouts`)
    print(`---- expected\n${expected}---- actual\n${actual}----`)
    return false
  }
  return true
}

function rewrite(run: RunOptions): number {
  for (const file of suiteFiles(OWN_FOLDER)) {
    const text = rewrittenFile(file, run)
    if (text === readFileSync(file.path, 'utf8')) continue
    writeFileSync(file.path, text)
    print(`wrote ${relative(process.cwd(), file.path)}: check what changed`)
  }
  return 0
}

try {
  process.exitCode = main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 2
}
