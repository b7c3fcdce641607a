// What drivers read from a directive, and the errors that are a directive's output.

import type { Directive } from './data-file.ts'

/** What a directive answers when it can't be done; not a fault of the test. */
export class DirectiveError extends Error {}

/** @returns the words without "=" */
export function plainWords({ words }: Directive): string[] {
  return words.filter(({ values }) => values.length === 0).map(({ key }) => key)
}

/** @returns the numbers of replicas that a directive names by plain words */
export function replicaIds(directive: Directive): number[] {
  return plainWords(directive).map(wholeNumber)
}

/** @returns the plain word at a place, as a number */
export function numberAt(directive: Directive, place: number): number {
  const word = plainWords(directive)[place]
  if (word === undefined) throw new DirectiveError(`${directive.command} lacks a number`)
  return wholeNumber(word)
}

/** @returns the values of an option, undefined when it isn't there */
export function listOf({ words }: Directive, key: string): readonly string[] | undefined {
  const found = words.filter((word) => word.key === key && word.values.length > 0)
  if (found.length === 0) return undefined
  return found.flatMap(({ values }) => values).filter((value) => value !== '')
}

export function optionOf(directive: Directive, key: string): string | undefined {
  return directive.words.find((word) => word.key === key)?.values[0]
}

export function numberOf(directive: Directive, key: string): number | undefined {
  const text = optionOf(directive, key)
  return text === undefined ? undefined : wholeNumber(text)
}

export function booleanOf(directive: Directive, key: string): boolean | undefined {
  const text = optionOf(directive, key)
  if (text === undefined) return undefined
  if (['true', 't', '1'].includes(text)) return true
  if (['false', 'f', '0'].includes(text)) return false
  throw new DirectiveError(`${key} is true or false, not "${text}"`)
}

/** @throws DirectiveError for an option that is not among `known` */
export function demandKnown({ command, words }: Directive, known: readonly string[]): void {
  const other = words.find(({ key, values }) => values.length > 0 && !known.includes(key))
  if (other !== undefined) throw new DirectiveError(`${command} has no option ${other.key}`)
}

export function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new DirectiveError(`"${text}" is no whole number`)
  return Number(text)
}
