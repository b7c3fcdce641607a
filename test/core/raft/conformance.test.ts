// The core passes every data file: those of this project, and those from outside where they are at
// hand.

import { basename } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  ELECTIONS,
  OWN_FOLDER,
  directiveCount,
  runFile,
  suiteFiles,
  whereOutside
} from './conformance/suite.ts'
import type { SuiteFile } from './conformance/suite.ts'

const SEED = 1

function everyFilePasses(files: readonly SuiteFile[]): void {
  it.each(files.map((file) => ({ file, name: `${file.kind}/${basename(file.path)}` })))(
    '$name passes with every kind of election timeouts',
    ({ file }) => {
      for (const election of ELECTIONS) {
        const mismatch = runFile(file, { election, seed: SEED })
        if (mismatch === undefined) continue
        const { line, directive, expected, actual } = mismatch
        expect(actual, `${directive}, line ${line}, ${election} timeouts`).toBe(expected)
      }
    }
  )
}

describe('data files of this project', () => {
  const files = suiteFiles(OWN_FOLDER)

  it('are there', () => {
    const kinds = [...new Set(files.map(({ kind }) => kind))]
    expect(kinds).toEqual(['interaction', 'quorum', 'confchange'])
    expect(files.every((file) => directiveCount(file) > 0)).toBe(true)
  })

  everyFilePasses(files)
})

describe('data files from outside', () => {
  const { path, isNamed } = whereOutside()
  const files = suiteFiles(path)

  it('are at hand', (context) => {
    if (files.length === 0 && !isNamed) {
      console.warn(
        'RAFT DATA FILES FROM OUTSIDE WERE NOT TESTED: set RAFT_TESTDATA to their folder'
      )
      context.skip('there are none')
    }
    expect(files, `data files in ${path}`).not.toEqual([])
  })

  everyFilePasses(files)
})
