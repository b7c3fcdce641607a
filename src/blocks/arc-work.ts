// What the mover keeps of an arc that it has to look at, and when it looks again.

export type ArcWork = {
  /** Owners believed to have a live copy; the fewest go first. */
  copies: number
  /** How often the arc was left to others since something changed; see ArcSituation. */
  round: number
  /** Looks in this round that found nothing to do but to wait for others that are at work. */
  waits: number
  /** Not before this instant of the monotonic clock. */
  notBeforeMs: number
  underReplicated: number
  /** The last look at it found nothing to do but wait. */
  stuck: boolean
}

/** An arc of which nothing has been seen since something changed. */
export const UNSEEN: Readonly<Pick<ArcWork, 'round' | 'waits' | 'stuck'>> = {
  round: 0,
  waits: 0,
  stuck: false
}

/**
 * What a look at an arc came to:
 * - `done`: nothing is left to do.
 * - `soon`: what was lacking has been sent.
 * - `waiting`: every owner answered, and others have to send first, or to learn of the layout.
 * - `later`: an owner is away, or didn't take its copy.
 */
export type Outcome = 'done' | 'soon' | 'waiting' | 'later'

/** Retries of an arc slow down to this power of two; a peer that comes back hurries them. */
const RETRY_DOUBLINGS_MAX = 5
/** What is over soon is looked at after this part of `retryMs`, then after twice as long … */
const SOON_PARTS = 100
/** … so often in a round. All of it stays below one `retryMs`. */
const WAITS_MAX = 6

/** Counts a look that isn't done yet. @returns how long until the next one, milliseconds */
export function delayAfter(
  work: Pick<ArcWork, 'round' | 'waits'>,
  outcome: Outcome,
  retryMs: number
): number {
  const soonMs = retryMs / SOON_PARTS
  if (outcome === 'waiting' && work.waits < WAITS_MAX) return soonMs * 2 ** work.waits++
  // A round takes as long, however often it looked: the next holder mustn't send beside the first.
  const waitedMs = soonMs * (2 ** work.waits - 1)
  const roundMs = retryMs * 2 ** Math.min(work.round, RETRY_DOUBLINGS_MAX) - waitedMs
  work.round += 1
  work.waits = 0
  return outcome === 'soon' ? soonMs : roundMs
}
