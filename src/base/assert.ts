// Programmer errors: a broken invariant crashes the process; services never catch it.

/** Thrown by {@link assert}. Never handled: it means that the program is wrong. */
class AssertionFailure extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'AssertionFailure'
  }
}

/** Crashes unless `condition` holds. `message` states the invariant. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(`Assertion failed: ${message}`)
}

/** @returns `value`, which the caller knows to be there. Crashes when it isn't. */
export function present<T>(value: T | undefined | null, message: string): T {
  if (value === undefined || value === null)
    throw new AssertionFailure(`Assertion failed: ${message}`)
  return value
}
