// Commands as `atoll` runs them, in this process: what they print, and their exit code.

import { Command } from 'commander'
import { registerFiles } from '../../../src/api/cli/files.ts'
import { registerKv } from '../../../src/api/cli/kv.ts'
import { registerLock } from '../../../src/api/cli/lock.ts'
import { registerNames } from '../../../src/api/cli/names.ts'

export type Printed = { out: string[]; err: string[]; code: number }

/** @param options.onLine called for each line of either kind, as it comes */
export async function run(
  words: readonly string[],
  options: {
    dataDir: string
    signal?: AbortSignal
    onLine?: (line: string) => void
  }
): Promise<Printed> {
  const { dataDir, signal = new AbortController().signal, onLine = () => {} } = options
  const printed: Printed = { out: [], err: [], code: 0 }
  const line =
    (lines: string[]) =>
    (text: string): void => {
      lines.push(text)
      onLine(text)
    }
  const context = {
    console: {
      out: line(printed.out),
      err: line(printed.err),
      isTerminal: false,
      rewrite: () => {}
    },
    signal,
    setExitCode: (code: number) => {
      printed.code = code
    }
  }
  const program = new Command('atoll').exitOverride().configureOutput({
    writeOut: line(printed.out),
    writeErr: () => {}
  })
  registerFiles(program, context)
  registerNames(program, context)
  registerKv(program, context)
  registerLock(program, context)
  const isHelp = words.includes('--help')
  // Before the "--" that ends the options.
  const [first = '', ...rest] = words
  const data = isHelp ? [] : ['--data', dataDir]
  const at =
    first === 'kv' ? [first, rest[0] ?? '', ...data, ...rest.slice(1)] : [first, ...data, ...rest]
  await program.parseAsync(at, { from: 'user' })
  return printed
}
