// A few names out of many, for a line of text.

const SHOWN_MAX = 8

/** @returns the names with commas; those over {@link SHOWN_MAX} are counted. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN_MAX).join(', ')
  const more = names.length - SHOWN_MAX
  return more > 0 ? `${shown} and ${more} more` : shown
}
