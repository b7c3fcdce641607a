#!/usr/bin/env node
// What npm's scripts stand on: installs what is missing, builds what is stale, then runs the task.
// It is plain JavaScript for an older Node.js too, because it brings the right one with it.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bin = join(root, 'node_modules', '.bin')
const installStamp = join(root, 'node_modules', '.atoll-installed')
const buildStamp = join(root, 'dist', '.atoll-built')

/**
 * Each task is a list of steps: a title and a command line, run with the project's own Node.js. The
 * lists of a `beside` run at one time, for they leave each other processors to use.
 */
const TASKS = {
  check: [
    ['format', ['oxfmt', '--check']],
    ['lint', ['oxlint', '--type-aware', 'src', 'test', 'bin', 'examples']],
    ['types', ['tsc', '--noEmit']],
    ['unused', ['knip']],
    ['protocols', ['node', 'test/protocols-unchanged.ts']],
    ['unit tests', ['vitest', 'run', '--project', 'unit']]
  ],
  test: [
    ['check', ['node', 'bin/dev.js', 'check']],
    ['end-to-end tests', ['vitest', 'run', '--project', 'e2e']],
    {
      beside: [
        [['simulation', ['node', 'test/sim/run.ts', '--only', 'membership', '--seeds', '1']]],
        [
          ['chaos', ['node', 'test/e2e/chaos.ts', '--cycles', '5']],
          ['chaos of what is agreed', ['node', 'test/e2e/chaos.ts', 'kv', '--minutes', '1']]
        ]
      ]
    }
  ],
  demo: [['demo', ['node', 'bin/atoll.js', 'demo']]],
  chaos: [['chaos', ['node', 'test/e2e/chaos.ts']]],
  sim: [['simulation', ['node', 'test/sim/run.ts']]],
  bench: [['bench', ['node', 'test/bench/run.ts']]],
  'raft:conformance': [['conformance', ['node', 'test/core/raft/conformance/run.ts']]],
  'raft:mutants': [['mutants', ['node', 'test/core/raft/mutants/run.ts']]],
  setup: []
}

const running = new Set()

/** Runs a command and passes Ctrl-C on to it. Resolves to its exit code. */
function run(command, words, options = {}) {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, ...options.env }
    const stdio = options.prefix === undefined ? 'inherit' : ['ignore', 'pipe', 'pipe']
    const child = spawn(command, words, { cwd: root, stdio, env })
    running.add(child)
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue
      const lines = createInterface({ input: stream })
      lines.on('line', (line) => process.stdout.write(`${options.prefix}: ${line}\n`))
    }
    child.once('error', reject)
    child.once('close', (code, signal) => {
      running.delete(child)
      resolve(code ?? (signal === 'SIGINT' ? 130 : 1))
    })
  })
}

async function mustRun(what, command, words) {
  const code = await run(command, words)
  if (code !== 0) {
    process.stderr.write(`atoll: ${what} failed (exit code ${code})\n`)
    process.exit(code)
  }
}

/** Installs when the lock file has changed since the last time, or nothing is there. */
async function install() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  const isInstalled =
    existsSync(join(bin, 'node')) &&
    existsSync(installStamp) &&
    readFileSync(installStamp, 'utf8') === lock
  if (isInstalled) return
  process.stderr.write('Installing what is missing (once) …\n')
  // Not "npm ci": it wants the packages of every platform, and some registries hold only a few.
  const words = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  await mustRun('npm install', 'npm', words)
  writeFileSync(installStamp, lock)
}

function newestChange(folder) {
  let newest = 0
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    newest = Math.max(newest, entry.isDirectory() ? newestChange(path) : statSync(path).mtimeMs)
  }
  return newest
}

/** Builds dist when a source is newer than the last build. */
async function build() {
  const others = ['tsconfig.json', 'package-lock.json', join('bin', 'bundle.js')]
  const sources = Math.max(
    newestChange(join(root, 'src')),
    ...others.map((name) => statSync(join(root, name)).mtimeMs)
  )
  if (existsSync(buildStamp) && statSync(buildStamp).mtimeMs > sources) return
  process.stderr.write('Building …\n')
  await mustRun('The build', join(bin, 'tsc'), ['-p', 'src'])
  await mustRun('The build', join(bin, 'node'), [join(root, 'bin', 'bundle.js')])
  writeFileSync(buildStamp, '')
}

/** @returns the exit code of the first step that failed, or 0 */
async function runSteps(steps, { extra = [], isBeside = false } = {}) {
  for (const [index, step] of steps.entries()) {
    if (step.beside !== undefined) {
      const codes = await Promise.all(
        step.beside.map(async (list) => await runSteps(list, { isBeside: true }))
      )
      const failed = codes.find((code) => code !== 0)
      if (failed !== undefined) return failed
      continue
    }
    const [title, [command, ...words]] = step
    const isOne = steps.length === 1 && !isBeside
    if (!isOne) process.stderr.write(`\n== ${title}\n`)
    const more = index === steps.length - 1 ? extra : []
    const prefix = isBeside ? title : undefined
    const code = await run(join(bin, command), [...words, ...more], { prefix })
    if (code === 0) continue
    if (!isOne) process.stderr.write(`\natoll: ${title} failed (exit code ${code})\n`)
    return code
  }
  return 0
}

async function main() {
  const [name = '', ...rest] = process.argv.slice(2)
  const steps = TASKS[name]
  if (steps === undefined) {
    process.stderr.write(`atoll: no task "${name}"; there are ${Object.keys(TASKS).join(', ')}\n`)
    process.exit(2)
  }
  // The first Ctrl-C is for the task, which ends cleanly and gives its own exit code.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => {
    for (const child of running) child.kill('SIGTERM')
  })
  await install()
  await build()
  process.exitCode = await runSteps(steps, { extra: rest })
}

await main()
