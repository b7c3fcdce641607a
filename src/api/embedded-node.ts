// A node inside of a program: as `atoll up` has it, with a local API for the tasks that it runs.

import { silentLogger } from '../base/log.ts'
import { createNode as createBareNode, type LocalNode } from '../node/create-node.ts'
import type { NodeOptions } from '../node/options.ts'
import { serveHttpApi } from './http-server.ts'
import { clientModule } from './package-folder.ts'

/**
 * Starts a node. On an empty folder without addresses to join it founds a mesh; with addresses it
 * joins theirs, and keeps trying until one answers; on a folder that was used it goes on.
 *
 * @example
 * ```ts
 * await using node = await createNode({ dataDir: 'data', join: ['/ip4/192.168.1.5/tcp/4001'] })
 * const { cid } = await node.files.put(bytes)
 * ```
 * @throws invalid-argument, folder-locked, folder-too-new, folder-state, invalid-data, wrong-mesh,
 *   evicted, unreachable (cannot listen), storage-failed, or `signal.reason`
 */
export async function createNode(options: NodeOptions): Promise<LocalNode> {
  const node = await createBareNode(options)
  try {
    const log = options.logger ?? silentLogger
    const api = await serveHttpApi({ node, log }, { host: '127.0.0.1', port: 0 })
    node.taskClient = { module: clientModule(), api: api.url, token: api.token }
    void node.stopped.then(async () => await api.close())
    return node
  } catch (error) {
    await node.stop()
    throw error
  }
}
