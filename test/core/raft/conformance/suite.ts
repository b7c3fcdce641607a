// Finds data files, runs them, and says where one fails.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigChangeDriver } from './config-change-driver.ts'
import { parseDataFile, withOutputs } from './data-file.ts'
import type { Directive } from './data-file.ts'
import { DirectiveError } from './directive.ts'
import { InteractionDriver } from './interaction-driver.ts'
import type { Election } from './interaction-driver.ts'
import { runQuorumDirective } from './quorum-driver.ts'

export type { Election } from './interaction-driver.ts'

export const ELECTIONS: readonly Election[] = ['random', 'minimal', 'maximal']

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url))
/** The files of this project. */
export const OWN_FOLDER: string = join(import.meta.dirname, 'data')
/** Where files from outside may lie, which are no part of the project. */
const OUTSIDE_FOLDER = join(ROOT, '..', 'shared', 'raft', 'testdata')

/** Subfolders of a suite: one for each kind of driver. */
const KINDS = ['interaction', 'quorum', 'confchange'] as const

export type SuiteFile = { readonly kind: (typeof KINDS)[number]; readonly path: string }

export type RunOptions = { readonly election: Election; readonly seed: number }

/** The first directive whose output is another one. */
export type Mismatch = {
  readonly line: number
  readonly directive: string
  readonly expected: string
  readonly actual: string
}

/**
 * @param folder the one that was asked for
 * @returns the folder of files from outside, and whether somebody named it
 */
export function whereOutside(folder?: string): { path: string; isNamed: boolean } {
  const named = folder ?? process.env['RAFT_TESTDATA']
  return { path: named ?? OUTSIDE_FOLDER, isNamed: named !== undefined }
}

/** @returns the data files of a folder in order; none when it isn't there */
export function suiteFiles(folder: string): SuiteFile[] {
  return KINDS.flatMap((kind) => {
    const subfolder = join(folder, kind)
    if (!existsSync(subfolder)) return []
    const names = readdirSync(subfolder).filter((name) => !name.startsWith('.'))
    return names.toSorted().map((name) => ({ kind, path: join(subfolder, name) }))
  })
}

/** @returns undefined when every output is as expected */
export function runFile(file: SuiteFile, options: RunOptions): Mismatch | undefined {
  const parsed = attempt(() => parseDataFile(readFileSync(file.path, 'utf8')))
  if (typeof parsed === 'string') {
    return { line: 1, directive: 'the file itself', expected: 'a data file\n', actual: parsed }
  }
  const run = driverOf(file, options)
  for (const directive of parsed.directives) {
    const { line, expected } = directive
    const actual = run(directive)
    if (actual !== expected) {
      return { line, directive: directive.command, expected, actual }
    }
  }
  return undefined
}

/** @returns how many directives a file has */
export function directiveCount({ path }: SuiteFile): number {
  return parseDataFile(readFileSync(path, 'utf8')).directives.length
}

/** @returns the text of the file with the outputs that it has now */
export function rewrittenFile(file: SuiteFile, options: RunOptions): string {
  const parsed = parseDataFile(readFileSync(file.path, 'utf8'))
  const run = driverOf(file, options)
  return withOutputs(parsed, parsed.directives.map(run))
}

/** @returns what runs one directive after another, from a state of its own */
function driverOf({ kind }: SuiteFile, options: RunOptions): (directive: Directive) => string {
  const run = handlerOf(kind, options)
  return (directive) => {
    const output = attempt(() => run(directive))
    return output === '' || output.endsWith('\n') ? output : `${output}\n`
  }
}

/** What a directive can't do is its output; what the core does wrong is too, and never expected. */
function attempt<T>(run: () => T): T | string {
  try {
    return run()
  } catch (error) {
    if (error instanceof DirectiveError) return error.message
    return `FAILED ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`
  }
}

function handlerOf(
  kind: SuiteFile['kind'],
  { election, seed }: RunOptions
): (directive: Directive) => string {
  switch (kind) {
    case 'interaction': {
      const driver = new InteractionDriver(election, seed)
      return (directive) => driver.run(directive)
    }
    case 'confchange': {
      const driver = new ConfigChangeDriver()
      return (directive) => driver.run(directive)
    }
    case 'quorum':
      return runQuorumDirective
  }
}
