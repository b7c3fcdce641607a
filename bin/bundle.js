// Puts the program and what it is made of into one file: a thousand modules take half a second to
// find and compile, and every command would. Plain JavaScript, run by bin/dev.js after the compiler.

import { join } from 'node:path'
import { build } from 'esbuild'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')

/**
 * As a module of its own kind `node:http` is asked for all that it exports, among them what loads the
 * whole of fetch and WebSocket: a sixth of the processor time of a command.
 */
const http = {
  name: 'http',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(node:)?http$/ }, () => ({ path: 'node:http', namespace: 'builtin' }))
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule('${path}')`
    }))
  }
}

await build({
  entryPoints: {
    atoll: join(dist, 'api', 'cli', 'main.js'),
    'check-state': join(dist, 'storage', 'file', 'state', 'check-state.js'),
    'executor-child': join(dist, 'executor', 'process', 'executor-child.js'),
    'executor-thread': join(dist, 'executor', 'process', 'executor-thread.js'),
    'exec-child': join(dist, 'executor', 'process', 'exec-child.js'),
    // What gives a task its connection to the node.
    connect: join(dist, 'api', 'remote', 'connect.js')
  },
  outdir: join(dist, 'bundle'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node22',
  // Native, of use to few commands, or finding its own files beside itself (piscina).
  external: ['lmdb', 'esbuild', 'piscina', 'acorn', 'eslint-scope'],
  // Errors are known by the names of their classes.
  keepNames: true,
  plugins: [http],
  legalComments: 'none',
  // A node keeps the text of its program in memory, two bytes a character for one beyond Latin 1,
  // which comments have. With lines, that a trace of the stack says where.
  minifyWhitespace: true,
  lineLimit: 200,
  logLevel: 'warning',
  // Libraries in the older form of modules ask for Node's own this way.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);"
  }
})
