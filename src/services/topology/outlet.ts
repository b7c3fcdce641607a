// All that leaves an instance: tuples to the bolts after it, and what is processed to the spouts.

import type { Random } from '../../base/random.ts'
import { AckBuffer } from '../../core/streams/ack-buffer.ts'
import type { Id } from '../../core/streams/ack-ledger.ts'
import { instanceOfKey, RoundRobin } from '../../core/streams/grouping.ts'
import { BatchSender, type SenderComponents } from './batch-sender.ts'
import type { Bell } from './waiting.ts'
import { placesOf, type InstancePlace, type OperatorDefinition } from './definition.ts'
import { encodeMessage, halves, TupleBuffer, type Tuples } from './tuple-codec.ts'
import { STREAM_BATCH_BYTES_MAX } from '../../wire/stream.ts'
import { MeshError } from '../../base/errors.ts'

const BATCH_COUNT = 256
/** Tuples wait so long for others while nothing is under way, … */
const LINGER_MS = 5
/** … and so long at most. */
const LINGER_MS_MAX = 25

/** Tuples of this operator that a bolt gets. */
type Edge = {
  readonly bolt: OperatorDefinition
  readonly lanes: readonly Lane[]
  readonly turns: RoundRobin
}
type Lane = { readonly buffer: TupleBuffer; readonly sender: BatchSender; sinceMs: number }

export class Outlet {
  /** What is told to spouts as soon as there is room. */
  readonly acks: AckBuffer = new AckBuffer()
  emitted = 0
  readonly #edges: readonly Edge[]
  readonly #senders = new Map<number, BatchSender>()
  readonly #random: Random
  #timer: NodeJS.Timeout | undefined

  constructor(
    components: SenderComponents & { random: Random; bell: Bell },
    about: { topology: string; place: InstancePlace; operators: readonly OperatorDefinition[] }
  ) {
    const { topology, place, operators } = about
    const { bell } = components
    this.#random = components.random
    const places = placesOf(operators)
    const from = String(place.index)
    const senderOf = (target: number): BatchSender => {
      const sender = new BatchSender(components, { topology, target, from }, () => bell.ring())
      this.#senders.set(target, sender)
      return sender
    }
    this.#edges = operators
      .filter((bolt) => bolt.from.includes(place.operator.name))
      .map((bolt) => {
        const targets = places.filter(({ operator }) => operator === bolt)
        const lanes = targets.map(({ index }) => {
          return { buffer: new TupleBuffer(BATCH_COUNT), sender: senderOf(index), sinceMs: 0 }
        })
        return { bolt, lanes, turns: new RoundRobin(lanes.length) }
      })
    if (place.operator.kind === 'bolt') {
      const spouts = places.filter(({ operator }) => operator.kind === 'spout')
      for (const { index } of spouts) senderOf(index)
    }
    components.routes.onChanged((index) => this.#senders.get(index)?.routeChanged())
    components.signal.addEventListener('abort', () => {
      clearTimeout(this.#timer)
      bell.ring()
    })
  }

  get isFull(): boolean {
    return this.#edges.some(({ lanes }) => lanes.some(({ sender }) => sender.isFull))
  }

  /** Batches that wait or are under way. */
  get queued(): number {
    return [...this.#senders.values()].reduce((sum, { queued }) => sum + queued, 0)
  }

  /** Emits a tuple to all that want it. @returns the new tuples' ids, XORed */
  emit(value: unknown, source: number, root: number): Id {
    let high = 0
    let low = 0
    for (const edge of this.#edges) {
      const lane = this.#laneOf(edge, value)
      const about = { source, root, high: this.#random.u32(), low: this.#random.u32() }
      high ^= about.high
      low ^= about.low
      if (lane.buffer.count === 0) lane.sinceMs = performance.now()
      lane.buffer.add(value, about)
      this.emitted += 1
      if (lane.buffer.isFull) push(lane.sender, lane.buffer.take())
    }
    this.tellSoon()
    return { high: high >>> 0, low: low >>> 0 }
  }

  /** What waits is sent in a while. */
  tellSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#tell()
    }, LINGER_MS)
  }

  #laneOf({ bolt, lanes, turns }: Edge, value: unknown): Lane {
    const { groupBy } = bolt
    const index =
      groupBy === undefined
        ? turns.next((one) => lanes[one]?.sender.isFull === false)
        : instanceOfKey(groupBy(value as never), lanes.length)
    return lanes[index] as Lane
  }

  #tell(): void {
    const nowMs = performance.now()
    let isLeft = false
    for (const { lanes } of this.#edges) {
      for (const { buffer, sender, sinceMs } of lanes) {
        if (buffer.count === 0) continue
        const isDue = sender.isIdle || nowMs - sinceMs >= LINGER_MS_MAX
        if (isDue && !sender.isFull) push(sender, buffer.take())
        else isLeft = true
      }
    }
    if (this.acks.count > 0) this.#tellAcks()
    if (isLeft || this.acks.count > 0) this.tellSoon()
  }

  #tellAcks(): void {
    for (const [source, acks] of this.acks.take()) {
      const sender = this.#senders.get(source)
      // Without room they wait here, where those of one tree become one.
      if (sender?.isFull === true) this.acks.put(source, acks)
      else sender?.push(encodeMessage({ kind: 'acks', ...acks }))
    }
  }
}

/** @throws too-large when a single tuple is */
function push(sender: BatchSender, tuples: Tuples): void {
  const batch = encodeMessage(tuples)
  if (batch.length <= STREAM_BATCH_BYTES_MAX) sender.push(batch)
  else if (tuples.values.length > 1) for (const half of halves(tuples)) push(sender, half)
  else {
    const sizes = `${batch.length} bytes; at most ${STREAM_BATCH_BYTES_MAX} can be sent`
    throw new MeshError('too-large', `A tuple has ${sizes}: put what is large into a file`)
  }
}
