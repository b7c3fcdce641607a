// How well this node itself is doing, judged by what it misses. Lifeguard (Dadgar, Phillips,
// Currey, 2017), section IV.A "Local Health Aware Probe": a sick member accuses others less.

/** Lifeguard's Local Health Multiplier: 0 is well, `max` is as sick as it gets. */
export class LocalHealth {
  readonly #max: number
  #score = 0

  constructor(max: number) {
    this.#max = max
  }

  get score(): number {
    return this.#score
  }

  /** @param delta > 0 for a sign of sickness, < 0 for one of health. */
  note(delta: number): void {
    this.#score = Math.max(0, Math.min(this.#max, this.#score + delta))
  }

  /** @returns `ticks`, stretched by (1 + score). */
  stretch(ticks: number): number {
    return ticks * (1 + this.#score)
  }
}
