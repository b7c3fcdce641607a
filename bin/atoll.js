#!/usr/bin/env -S node --max-semi-space-size=8
// Starts the CLI, on a Node.js that can run it. The flag in the first line keeps a node small: the
// young generation is collected often enough as it is, and grows to 48 MiB otherwise.

import module from 'node:module'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 13)) {
  process.stderr.write(
    `atoll: Node.js 22.13 or newer is needed, this is ${process.versions.node}. ` +
      'Get it with "npx -p node@24 -- atoll …", with your system\'s packages, or from https://nodejs.org\n'
  )
  process.exit(1)
}

// Blocks pass through buffers outside the heap. By default they cause a full garbage collection
// every few MiB, a large part of the processor time of a transfer. This counts them with the heap instead.
if (major >= 24) setFlagsFromString('--external-memory-accounted-in-global-limit')

// More threads for file operations than the four there are by default: fsync holds each for long.
process.env.UV_THREADPOOL_SIZE ??= '8'

// What V8 made of the program the last time, beside the program; where that can't be written, without.
module.enableCompileCache?.(fileURLToPath(new URL('../dist/.compile-cache', import.meta.url)))

// A node that is only ever switched off would compile it at each start.
setTimeout(() => module.flushCompileCache?.(), 10_000).unref()

const { main } = await import('../dist/bundle/atoll.js')
process.exitCode = await main(process.argv.slice(2))
// What a slow reader of a pipe hasn't taken yet would be lost at the exit.
for (const stream of [process.stdout, process.stderr]) {
  if (stream.writableLength === 0 || stream.destroyed) continue
  await new Promise((resolve) => {
    stream.once('error', resolve)
    stream.write('', resolve)
  })
}
// Timers of closed connections would keep the process for another second.
process.exit()
