// Loaded into a node that lives in a network of its own: passes on what comes in at a socket in the
// file system to the node's API, so that a test outside reaches it whatever is cut.

import { rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'

const { ATOLL_RELAY_SOCKET: path, ATOLL_RELAY_PORT: port } = process.env
// Not in the processes that the node starts: they have its environment.
if (path !== undefined && port !== undefined && process.argv.includes('up')) {
  rmSync(path, { force: true })
  const server = createServer((outside) => {
    const api = connect(Number(port), '127.0.0.1')
    outside.pipe(api).pipe(outside)
    outside.on('error', () => api.destroy())
    api.on('error', () => outside.destroy())
  })
  server.listen(path)
  server.unref()
}
