// Fails when the generated code is not what the protocols say: somebody edited one and not the other.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'

const committed = join(import.meta.dirname, '..', 'src', 'wire', 'generated')

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .toSorted()
}

const fresh = mkdtempSync(join(tmpdir(), 'atoll-protocols-'))
try {
  execFileSync('buf', ['generate', '--output', fresh], { stdio: 'inherit' })
  const folder = join(fresh, 'src', 'wire', 'generated')
  const names = filesOf(folder)
  if (names.length === 0) throw new Error('buf generated nothing')
  const stale = [...new Set([...names, ...filesOf(committed)])].filter((name) => {
    try {
      return (
        readFileSync(join(folder, name), 'utf8') !== readFileSync(join(committed, name), 'utf8')
      )
    } catch {
      return true // In one of the two only.
    }
  })
  if (stale.length > 0) {
    process.stderr.write(`Generated code is stale (${stale.join(', ')}); run: npm run protocols\n`)
    process.exitCode = 1
  }
} finally {
  rmSync(fresh, { recursive: true })
}
