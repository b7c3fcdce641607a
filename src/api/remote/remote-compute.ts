// Work on the mesh for a program that is no node: what is asked of shards goes to them, the rest to
// the node.

import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { createRandom } from '../../base/random.ts'
import { CodeShelf } from '../../services/compute/code-shelf.ts'
import { Compute } from '../../services/compute/compute.ts'
import { Jobs, type PartSubmitted } from '../../services/compute/jobs.ts'
import { encodePart } from '../../services/compute/part-codec.ts'
import { readAll } from '../../services/files/read-all.ts'
import { systemClock } from '../../node/system-clock.ts'
import type { ApiClient } from '../http-client.ts'
import type { RemoteFiles } from './remote-files.ts'
import type { RemoteShards } from './remote-shards.ts'
import { RemoteTasks } from './remote-tasks.ts'

/** Programs of one machine share what their user gets. */
const SUBMITTER = (process.env['USER'] ?? 'program').slice(0, 32)

export function remoteCompute(components: {
  shards: RemoteShards
  files: RemoteFiles
  client: () => Promise<ApiClient>
}): Compute {
  const { shards, files, client } = components
  // A command that is a task is told so by its environment.
  const isNested = process.env['ATOLL_TASK_ID'] !== undefined
  const tasks = new RemoteTasks(client, { isNested })
  const jobs = new Jobs({
    shards,
    clock: systemClock,
    read: async (cid, options) => await readAll(files.get(cid, options)),
    submitter: {
      submit: async (part, { signal }) => {
        const body = Readable.from([encodePart(part)], { objectMode: false })
        const api = await client()
        return await api.json<PartSubmitted>('part', { method: 'POST', body, signal })
      }
    }
  })
  return new Compute({
    files,
    shelf: new CodeShelf({ files, clock: systemClock }),
    jobs,
    random: createRandom(randomBytes(4).readUInt32LE()),
    submitter: SUBMITTER,
    runEphemeral: async (task, signal) => await tasks.run(task, signal),
    // Only the node knows.
    isCrowded: () => false
  })
}
