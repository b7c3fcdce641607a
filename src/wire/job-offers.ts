// Jobs with tasks that wait for somebody, as nodes gossip them: protocols/job, Offers. Hints only (J-2).

import { utf8 } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'
import { KIB } from '../base/units.ts'
import { JOB_PRIORITY_MAX, JOB_SUBMITTER_BYTES_MAX } from '../core/machine/limits.ts'
import { spaceBytes, spaceOf, wholeNumber } from './job-task.ts'
import { malformed } from './proto.ts'
import { bounded, bytesOf, numberOf, textOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'

/** Offers of one message. */
export const OFFERS_MAX = 16
const OFFER_BYTES_MAX: number = KIB
const WHAT = 'job offers'

export type JobOffer = {
  /** Of a part of the job. */
  space: string
  /** 0 to 9, which is the first. */
  priority: number
  /** Tasks that could be granted now, about. */
  ready: number
  submitter: string
  /** How long a task takes, about; on the wire at least 1. */
  estimateMs: number | undefined
}

/** @param offers 1 to {@link OFFERS_MAX} @throws invalid-argument, too-large */
export function encodeJobOffers(offers: readonly JobOffer[]): Uint8Array {
  if (offers.length === 0 || offers.length > OFFERS_MAX) {
    const problem = `A message has ${offers.length} offers; 1 to ${OFFERS_MAX} can be`
    throw new MeshError('invalid-argument', problem)
  }
  const writer = new ProtoWriter(128 * offers.length)
  for (const offer of offers) writer.present(1, encodeOffer(offer))
  return writer.finish()
}

/** @throws invalid-data */
export function decodeJobOffers(bytes: Uint8Array): JobOffer[] {
  const offers: JobOffer[] = []
  for (const field of readFields(bytes, WHAT)) {
    if (field.field !== 1) continue
    if (offers.length === OFFERS_MAX) throw malformed(WHAT, `there are more than ${OFFERS_MAX}`)
    offers.push(decodeOffer(bytesOf(field, WHAT, OFFER_BYTES_MAX)))
  }
  if (offers.length === 0) throw malformed(WHAT, 'there is none')
  return offers
}

function encodeOffer(offer: JobOffer): Uint8Array {
  const { space, priority, ready, submitter, estimateMs } = offer
  const writer = new ProtoWriter(128)
  writer.bytes(1, spaceBytes(space))
  writer.uint(2, wholeNumber(priority, 'A priority', JOB_PRIORITY_MAX))
  writer.uint(3, wholeNumber(ready, 'A count of tasks'))
  writer.bytes(4, bounded(utf8(submitter), JOB_SUBMITTER_BYTES_MAX, 'The name of a submitter'))
  if (estimateMs !== undefined) {
    writer.uint(5, wholeNumber(Math.max(1, Math.round(estimateMs)), 'An estimate'))
  }
  return writer.finish()
}

function decodeOffer(bytes: Uint8Array): JobOffer {
  let space: string | undefined
  let [priority, ready, submitter, estimateMs] = [0, 0, '', 0]
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) space = spaceOf(field, WHAT)
    else if (field.field === 2) priority = numberOf(field, WHAT, JOB_PRIORITY_MAX)
    else if (field.field === 3) ready = numberOf(field, WHAT)
    else if (field.field === 4) submitter = textOf(field, WHAT, JOB_SUBMITTER_BYTES_MAX)
    else if (field.field === 5) estimateMs = numberOf(field, WHAT)
  }
  if (space === undefined) throw malformed(WHAT, 'one names no job')
  return {
    space,
    priority,
    ready,
    submitter,
    estimateMs: estimateMs === 0 ? undefined : estimateMs
  }
}
