// The process that starts commands, and sees to it that nothing of them is left. It runs no code of
// others itself. It ends when the peer does.

import { Socket } from 'node:net'
import { Command } from './command.ts'
import { FrameChannel } from './frame-channel.ts'
import { MESSAGES, readJob, sendDouble, sendEnding } from './messages.ts'

/** Where the peer puts its end of the channel. */
const CHANNEL_FD = 3

const commands = new Map<number, Command>()

const channel = new FrameChannel(new Socket({ fd: CHANNEL_FD }), {
  onFrame: ({ kind, number, payload }) => {
    if (kind === MESSAGES.config) channel.send(MESSAGES.ready, 0)
    else if (kind === MESSAGES.run) start(number, payload)
    else if (kind === MESSAGES.cancel) commands.get(number)?.cancel('aborted')
  },
  onClose: () => {
    for (const command of commands.values()) command.kill()
    process.kill(process.pid, 'SIGKILL')
  }
})

function start(number: number, payload: Buffer): void {
  const command = new Command(readJob(number, payload), {
    onStarted: (group) => {
      sendDouble(channel, MESSAGES.started, number, group)
      // The peer ends what is left of the group, should this process die.
      channel.flush()
    },
    onLine: (line) => channel.send(MESSAGES.lines, number, Buffer.from(line)),
    onEnded: (ending) => {
      commands.delete(number)
      sendEnding(channel, number, ending)
    }
  })
  commands.set(number, command)
  command.start()
}

// Meant for the peer, which finishes what it does and then ends this process.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
