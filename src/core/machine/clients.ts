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

export function recall(state: OrderedReads, { client: id, sequence }: Numbered): Recall {
  if (sequence > SEQUENCE_MAX) {
    const problem = `Request ${sequence} is above ${SEQUENCE_MAX}, the last sequence`
    return { kind: 'refused', error: new MeshError('invalid-argument', problem) }
  }
  const client = readClient(state, id)
  if (client === undefined) {
    const advice = 'its requests may or may not have been done; register anew'
    return refused(`Client ${id} isn't remembered: ${advice}`)
  }
  if (sequence < client.floor) {
    const problem = `Request ${sequence} is before ${client.floor}`
    return refused(`${problem}, from where answers are remembered; it isn't done again`)
  }
  const answer = state.get(answerKey(id, sequence))
  return answer === undefined ? { kind: 'new' } : { kind: 'repeated', answer }
}

export type Answered = Numbered & {
  readonly answeredBelow: number
  readonly answer: Uint8Array
  readonly timeMs: number
}

/** Remembers an answer, and forgets what the client has or what there is no room for. */
export function remember(state: StagedState, answered: Answered): void {
  const { client: id, sequence, answeredBelow, answer, timeMs } = answered
  const client = readClient(state, id)
  // It was forgotten by its own wish.
  if (client === undefined) return
  state.insert(answerKey(id, sequence), answer)
  let answersBytes = client.answersBytes + answer.length
  const wished = Math.min(answeredBelow, sequence)
  let floor = Math.max(client.floor, wished, sequence - ANSWERS_PER_CLIENT + 1)
  // One by one where they can be named: a range costs as much as all the rest.
  const isNear = floor - client.floor <= ANSWERS_PER_CLIENT
  for (let other = isNear ? client.floor : floor; other < floor; other++) {
    const key = answerKey(id, other)
    const known = state.get(key)
    if (known === undefined) continue
    answersBytes -= known.length
    state.delete(key)
  }
  if (!isNear || answersBytes > ANSWERS_BYTES_PER_CLIENT) {
    const oldest = state.range({ from: answerKey(id, 0), to: answerKey(id + 1, 0) })
    for (const { key, value } of oldest) {
      const other = lastNumber(key)
      if (other >= floor && answersBytes <= ANSWERS_BYTES_PER_CLIENT) break
      floor = Math.max(floor, other + 1)
      answersBytes -= value.length
      state.delete(key)
    }
  }
  const isLongAgo = timeMs - client.activeMs >= CLIENT_ACTIVE_STEP_MS
  const activeMs = isLongAgo ? timeMs : client.activeMs
  if (isLongAgo) {
    state.delete(clientDeadlineKey(client.activeMs + CLIENT_TTL_MS, id))
    state.put(clientDeadlineKey(activeMs + CLIENT_TTL_MS, id), NO_BYTES)
  }
  state.put(clientKey(id), encode(clientCodec, { floor, activeMs, answersBytes }))
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
