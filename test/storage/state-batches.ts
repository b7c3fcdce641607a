// What a group holds after so many batches of the process that is killed: any of them can be told.

/** @returns keys and values: the last 40 batches have a key each, and three keys always change. */
export function stateAfter(batch: number): Map<string, string> {
  const state = new Map<string, string>()
  for (let index = Math.max(1, batch - 39); index <= batch; index++) {
    state.set(`batch/${index}`, `${index}`.repeat(20))
  }
  if (batch > 0) for (const key of ['x', 'y', 'z']) state.set(key, `${key}${batch}`)
  return state
}
