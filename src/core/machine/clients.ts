// The memory of answered requests. A request that comes twice, because its answer was lost with a
// leader, is answered as the first time and not done again.
//
// A client registers, which gives it an id, and numbers its requests. Were it known by a name of its
// own choice, one that was forgotten would look like a new one, and what it repeats would be done
// again; so ids are the shard's, never used twice, and an unknown one is refused.

import { MeshError } from '../../base/errors.ts'
import { decode, encode } from './codec.ts'
import {
  ANSWERS_BYTES_PER_CLIENT,
  ANSWERS_PER_CLIENT,
  CLIENTS_MAX,
  CLIENT_ACTIVE_STEP_MS,
  CLIENT_IDLE_MS_MIN,
  CLIENT_TTL_MS,
  EXPIRED_CLIENTS_PER_ENTRY
} from './limits.ts'
import type { OrderedReads, OrderedState } from './ordered-state.ts'
import type { StagedState } from './staged-state.ts'
import { clientCodec } from './records.ts'
import type { Client, Meta } from './records.ts'
import {
  answerKey,
  clientDeadlineKey,
  clientKey,
  lastNumber,
  partsOfDeadline
} from './state-keys.ts'

/** Of requests: leaves room to count on. */
const SEQUENCE_MAX = 2 ** 52
const NO_BYTES = new Uint8Array(0)
const DEADLINES = { from: clientDeadlineKey(0, 0), to: clientDeadlineKey(2 ** 53, 0) }

/** What is remembered of a request. */
export type Recall =
  | { readonly kind: 'new' }
  | { readonly kind: 'repeated'; readonly answer: Uint8Array }
  | { readonly kind: 'refused'; readonly error: MeshError }

type Numbered = { readonly client: number; readonly sequence: number }

/** Clients of whom what is stored is kept at hand, at most. */
const KNOWN_MAX = 128

type Known = {
  readonly key: Uint8Array
  client: Client
  /** The bytes of each answer that is remembered, by its sequence. */
  readonly answers: Map<number, number>
}

/** What is stored of clients that asked lately, so that it isn't read for every request. */
export class KnownClients {
  readonly #known = new Map<number, Known>()

  /** @returns undefined when it isn't remembered. */
  of(state: OrderedReads, id: number): Known | undefined {
    const known = this.#known.get(id)
    if (known !== undefined) return known
    const key = clientKey(id)
    const stored = state.get(key)
    if (stored === undefined) return undefined
    const answers = new Map<number, number>()
    for (const answer of state.range({ from: answerKey(id, 0), to: answerKey(id + 1, 0) })) {
      answers.set(lastNumber(answer.key), answer.value.length)
    }
    const found = { key, client: decode(clientCodec, stored), answers }
    for (const oldest of this.#known.keys()) {
      if (this.#known.size < KNOWN_MAX) break
      this.#known.delete(oldest)
    }
    this.#known.set(id, found)
    return found
  }

  /** What is stored was changed by another than {@link remember}. */
  clear(): void {
    this.#known.clear()
  }
}

export function recall(
  state: OrderedReads,
  clients: KnownClients,
  { client: id, sequence }: Numbered
): Recall {
  if (sequence > SEQUENCE_MAX) {
    const problem = `Request ${sequence} is above ${SEQUENCE_MAX}, the last sequence`
    return { kind: 'refused', error: new MeshError('invalid-argument', problem) }
  }
  const known = clients.of(state, id)
  if (known === undefined) {
    const advice = 'its requests may or may not have been done; register anew'
    return refused(`Client ${id} isn't remembered: ${advice}`)
  }
  const { floor } = known.client
  if (sequence < floor) {
    const problem = `Request ${sequence} is before ${floor}`
    return refused(`${problem}, from where answers are remembered; it isn't done again`)
  }
  const answer = known.answers.has(sequence) ? state.get(answerKey(id, sequence)) : undefined
  return answer === undefined ? { kind: 'new' } : { kind: 'repeated', answer }
}

export type Answered = Numbered & {
  readonly answeredBelow: number
  readonly answer: Uint8Array
  readonly timeMs: number
}

/** Remembers an answer, and forgets what the client has or what there is no room for. */
export function remember(state: StagedState, clients: KnownClients, answered: Answered): void {
  const { client: id, sequence, answeredBelow, answer, timeMs } = answered
  const known = clients.of(state, id)
  // It was forgotten by its own wish.
  if (known === undefined) return
  const { client, answers } = known
  state.insert(answerKey(id, sequence), answer)
  answers.set(sequence, answer.length)
  let answersBytes = client.answersBytes + answer.length
  const forget = (other: number): void => {
    answersBytes -= answers.get(other) ?? 0
    if (answers.delete(other)) state.replace(answerKey(id, other), undefined)
  }
  const wished = Math.min(answeredBelow, sequence)
  let floor = Math.max(client.floor, wished, sequence - ANSWERS_PER_CLIENT + 1)
  const isNear = floor - client.floor <= answers.size
  if (isNear) for (let other = client.floor; other < floor; other++) forget(other)
  else for (const other of answers.keys()) if (other < floor) forget(other)
  if (answersBytes > ANSWERS_BYTES_PER_CLIENT) {
    for (const oldest of [...answers.keys()].toSorted((a, b) => a - b)) {
      if (answersBytes <= ANSWERS_BYTES_PER_CLIENT) break
      floor = oldest + 1
      forget(oldest)
    }
  }
  const isLongAgo = timeMs - client.activeMs >= CLIENT_ACTIVE_STEP_MS
  const activeMs = isLongAgo ? timeMs : client.activeMs
  if (isLongAgo) {
    state.delete(clientDeadlineKey(client.activeMs + CLIENT_TTL_MS, id))
    state.put(clientDeadlineKey(activeMs + CLIENT_TTL_MS, id), NO_BYTES)
  }
  known.client = { floor, activeMs, answersBytes }
  state.replace(known.key, encode(clientCodec, known.client))
}

/** @throws overloaded when the table is full of clients that are active. */
export function registerClient(state: OrderedState, meta: Meta, id: number): void {
  if (meta.clientCount >= CLIENTS_MAX) {
    const idlest = firstClientDeadline(state)
    const isIdle =
      idlest !== undefined && idlest.deadlineMs - CLIENT_TTL_MS + CLIENT_IDLE_MS_MIN <= meta.timeMs
    if (!isIdle) {
      const bound = `${CLIENTS_MAX} clients`
      throw new MeshError('overloaded', `The shard remembers ${bound} already; try again later`)
    }
    forgetClient(state, meta, idlest.id)
  }
  const { timeMs: activeMs } = meta
  state.put(clientKey(id), encode(clientCodec, { floor: 0, activeMs, answersBytes: 0 }))
  state.put(clientDeadlineKey(activeMs + CLIENT_TTL_MS, id), NO_BYTES)
  meta.clientCount += 1
}

/** @returns whether it was known. */
export function forgetClient(state: OrderedState, meta: Meta, id: number): boolean {
  const client = readClient(state, id)
  if (client === undefined) return false
  state.delete(clientKey(id))
  state.delete(clientDeadlineKey(client.activeMs + CLIENT_TTL_MS, id))
  const answers = state.range({ from: answerKey(id, 0), to: answerKey(id + 1, 0) })
  for (const { key } of answers) state.delete(key)
  meta.clientCount -= 1
  return true
}

/** Forgets clients that asked nothing for long. @returns false when some are left for the next entry. */
export function forgetIdleClients(state: OrderedState, meta: Meta): boolean {
  for (let count = 0; count < EXPIRED_CLIENTS_PER_ENTRY; count++) {
    const first = firstClientDeadline(state)
    if (first === undefined || first.deadlineMs > meta.timeMs) return true
    forgetClient(state, meta, first.id)
  }
  return false
}

export function readClient(state: OrderedReads, id: number): Client | undefined {
  const stored = state.get(clientKey(id))
  return stored === undefined ? undefined : decode(clientCodec, stored)
}

/** @returns the client that is forgotten first, unless it asks something. */
export function firstClientDeadline(
  state: OrderedReads
): { deadlineMs: number; id: number } | undefined {
  const [pair] = state.range({ ...DEADLINES, limit: 1 })
  return pair === undefined ? undefined : partsOfDeadline(pair.key)
}

function refused(problem: string): Recall {
  return { kind: 'refused', error: new MeshError('client-expired', problem) }
}
