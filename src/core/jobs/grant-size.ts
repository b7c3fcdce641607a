// How many tasks a worker asks for at once: guided self-scheduling. Large grants while much is left,
// so that few entries are needed; small ones towards the end, so that nobody holds what others could
// do; and a fast worker takes more than a slow one.

/** Tasks of one grant, at most: as the machine has it. */
const TASKS_MAX = 64
/** A grant is one part in so many of the worker's share of what is left. */
const PARTS = 3
/** What a worker holds at once should be done by then. */
const HELD_MS = 500

export type GrantSizeInput = {
  /** Tasks of the job that nobody has yet, about. */
  readonly remaining: number
  /** Slots for tasks of this job that nothing runs in or waits for. */
  readonly freeSlots: number
  /** How long a task takes here, about; undefined while nothing is known. */
  readonly estimateMs: number | undefined
  /** Of this worker, in any unit … */
  readonly speed: number
  /** … and of all that work on the job, this one included. */
  readonly speedSum: number
}

/** @returns 0 when there is nothing or no room; else 1 to 64. */
export function grantSize(input: GrantSizeInput): number {
  const { remaining, freeSlots, estimateMs, speed, speedSum } = input
  if (remaining <= 0 || freeSlots < 1) return 0
  const share = speedSum > 0 ? Math.min(1, speed / speedSum) : 1
  const guided = Math.max(1, Math.ceil((remaining * share) / PARTS))
  return Math.min(guided, soonDone(freeSlots, estimateMs), Math.ceil(remaining), TASKS_MAX)
}

/** What free slots get done in {@link HELD_MS}, at least a task each. */
function soonDone(freeSlots: number, estimateMs: number | undefined): number {
  const slots = Math.floor(freeSlots)
  if (estimateMs === undefined) return slots
  return slots * Math.max(1, Math.floor(HELD_MS / Math.max(1, estimateMs)))
}
