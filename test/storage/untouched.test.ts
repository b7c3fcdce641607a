import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'

import { Untouched } from '../../src/storage/file/state/untouched.ts'

let dir: string
let [path, note, boot] = ['', '', '']

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'atoll-untouched-'))
  ;[path, note, boot] = ['file', 'note', 'boot'].map((name) => join(dir, name)) as [
    string,
    string,
    string
  ]
  await writeFile(path, 'as it should be')
  await writeFile(boot, 'one start of the machine\n')
})
afterEach(async () => {
  await rm(dir, { recursive: true })
})

it('D-18 a file is as it was left until somebody writes to it, and known again when it is noted', async () => {
  const file = new Untouched(path, note, boot)
  expect(await file.isSo()).toBe(false)
  await file.note()
  expect([await file.isSo(), await new Untouched(path, note, boot).isSo()]).toEqual([true, true])
  await appendFile(path, '.')
  expect(await file.isSo()).toBe(false)
  await file.note()
  expect(await file.isSo()).toBe(true)
})

it('D-18 nothing is known after another start of the machine, or where starts have no names', async () => {
  await new Untouched(path, note, boot).note()
  await writeFile(boot, 'another one\n')
  expect(await new Untouched(path, note, boot).isSo()).toBe(false)
  const nameless = new Untouched(path, note, join(dir, 'none'))
  await nameless.note()
  expect(await nameless.isSo()).toBe(false)
})

it('D-18 another file of the same length in its place is another file', async () => {
  await new Untouched(path, note, boot).note()
  await writeFile(join(dir, 'other'), 'as it SHOULD be')
  await rm(path)
  await writeFile(path, 'as it SHOULD be')
  expect(await new Untouched(path, note, boot).isSo()).toBe(false)
})
