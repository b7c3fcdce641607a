// Arguments of the long-running test programs.

/** @returns a whole number ≥ 0. @throws when `text` is none */
export function parseCount(name: string, text: string): number {
  const count = Number(text)
  if (!Number.isSafeInteger(count) || count < 0)
    throw new Error(`--${name} takes a whole number, not "${text}"`)
  return count
}
