// All small histories: every way in which a few operations can overlap, with every combination of
// inputs and outputs.

import type { Operation } from './history.ts'

/** An operation and what came of it; no output means that nobody knows. */
export type Told<Input, Output> = { readonly input: Input; readonly output: Output | undefined }

/** When operations were called and returned; calls in the order of the operations. */
type Shape = readonly { readonly call: number; readonly return: number }[]

/** @returns every way in which `count` operations overlap, of which `clientsMax` at one time. */
export function shapesOf(count: number, clientsMax: number): Shape[] {
  const shapes: Shape[] = []
  const extend = (events: readonly number[], called: number, open: readonly number[]): void => {
    if (called === count && open.length === 0) {
      shapes.push(
        Array.from({ length: count }, (_, index) => ({
          call: events.indexOf(index),
          return: events.lastIndexOf(index)
        }))
      )
      return
    }
    if (called < count && open.length < clientsMax) {
      extend([...events, called], called + 1, [...open, called])
    }
    for (const index of open) {
      extend(
        [...events, index],
        called,
        open.filter((other) => other !== index)
      )
    }
  }
  extend([], 0, [])
  return shapes
}

export function historyOf<Input, Output>(
  shape: Shape,
  told: readonly Told<Input, Output>[]
): Operation<Input, Output>[] {
  return shape.map((span, index) => {
    const { input, output } = told[index] as Told<Input, Output>
    const end = output === undefined ? Number.POSITIVE_INFINITY : span.return
    const id = index + 1
    return { id, client: `c${id}`, key: 'k', input, output, call: span.call, return: end }
  })
}

/** Calls back for every choice of `count` items, in which an item may come more than once. */
export function forEachChoice<T>(
  items: readonly T[],
  count: number,
  visit: (choice: readonly T[]) => void
): void {
  const choose = (chosen: readonly T[]): void => {
    if (chosen.length === count) visit(chosen)
    else for (const item of items) choose([...chosen, item])
  }
  choose([])
}
