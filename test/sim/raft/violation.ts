// What a simulated run ends with when something is wrong.

/** An invariant that was broken; its name is what a smaller run must break too. */
export class Violation extends Error {
  readonly invariant: string

  constructor(invariant: string, detail: string) {
    super(`${invariant}: ${detail}`)
    this.name = 'Violation'
    this.invariant = invariant
  }
}

/** @throws {@link Violation} unless `holds`. For places where making the words costs nothing. */
export function demand(invariant: string, holds: boolean, detail: string): asserts holds {
  if (!holds) throw new Violation(invariant, detail)
}
