// Bytes that arrive become frames, and a frame that began must end in time.

import type { Clock, Timer } from '../base/clock.ts'
import { MeshError, toMeshError } from '../base/errors.ts'
import { FrameDecoder } from '../wire/frame.ts'
import type { FrameStream } from './frame-stream.ts'

/** A frame that began must be complete within this time, or the stream is broken off. */
const FRAME_TIMEOUT_MS = 30_000

/** What reads on behalf of a stream, and is told to break it off. */
type Reading = Pick<FrameStream, 'onFrame' | 'close'>

export class FrameReader {
  readonly #stream: Reading
  readonly #clock: Clock
  readonly #decoder: FrameDecoder
  #timer: Timer | undefined
  #isOver = false

  /** @param stream gets each frame, and is closed with the reason when bytes are none or stop coming */
  constructor(components: { stream: Reading; clock: Clock }, frameBytesMax: number) {
    this.#stream = components.stream
    this.#clock = components.clock
    this.#decoder = new FrameDecoder(frameBytesMax)
  }

  push(chunk: Uint8Array): void {
    if (this.#isOver) return
    try {
      for (const frame of this.#decoder.push(chunk)) this.#stream.onFrame(frame)
    } catch (error) {
      this.#stream.close(toMeshError(error))
      return
    }
    if (this.#decoder.partial && !this.#isOver) this.#timer ??= this.#breakOffLater()
    else this.#forgetTimer()
  }

  /** What comes from now on is nothing to anybody. */
  end(): void {
    this.#isOver = true
    this.#forgetTimer()
  }

  #breakOffLater(): Timer {
    return this.#clock.after(FRAME_TIMEOUT_MS, () => {
      const text = `A frame was not complete after ${FRAME_TIMEOUT_MS} ms`
      this.#stream.close(new MeshError('timeout', text))
    })
  }

  #forgetTimer(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
