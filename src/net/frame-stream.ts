// What carries frames between two peers: the one thing a transport has to bring.

import type { Frame, OutgoingFrame } from '../wire/frame.ts'

/** One stream of frames. `send` queues; both listeners are set right after it is made. */
export type FrameStream = {
  /** Queues a frame. Its body must not change until it is sent. */
  send(frame: OutgoingFrame): void
  /** Bytes queued and not yet handed to the transport. */
  queuedBytes(): number
  /** Resolves when the queue is short again, or the stream has closed. */
  drained(): Promise<void>
  /** Ends both directions at once. Idempotent. */
  close(reason?: Error): void
  onFrame: (frame: Frame) => void
  /** Called once, whoever closed and however. */
  onClose: (reason: Error | undefined) => void
}
