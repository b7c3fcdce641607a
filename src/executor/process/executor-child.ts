// The process that runs tasks of bundles and of WebAssembly, in threads. Its main thread runs none of
// their code, so it always answers. It ends when the peer does.

import { Socket } from 'node:net'
import { entryUrl, threadFlags } from './entries.ts'
import { FrameChannel } from './frame-channel.ts'
import { MESSAGES, readConfig, readJob } from './messages.ts'
import { TaskPool } from './task-pool.ts'

/** Where the peer puts its end of the channel. */
const CHANNEL_FD = 3

let pool: TaskPool | undefined

const channel = new FrameChannel(new Socket({ fd: CHANNEL_FD }), {
  onFrame: ({ kind, number, payload }) => {
    if (kind === MESSAGES.config) {
      const thread = { threadUrl: entryUrl('executor-thread').href, threadFlags: threadFlags() }
      pool = new TaskPool(channel, { ...readConfig(payload), ...thread })
      channel.send(MESSAGES.ready, 0)
    } else if (kind === MESSAGES.run) {
      pool?.run(readJob(number, payload))
    } else if (kind === MESSAGES.cancel) {
      pool?.cancel(number)
    }
  },
  // At once, whatever the threads do: nobody takes their results any more.
  onClose: () => process.kill(process.pid, 'SIGKILL')
})

// Meant for the peer, which finishes what it does and then ends this process.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
