// Makes an object's promises move virtual time: while a caller waits for one, the clock runs.

import type { VirtualClock } from './virtual-clock.ts'

function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value
}

async function* drivenIterable(
  source: AsyncIterable<unknown>,
  clock: VirtualClock
): AsyncGenerator {
  const iterator = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      const { done, value } = await clock.run(iterator.next())
      if (done === true) return
      yield value
    }
  } finally {
    await iterator.return?.()
  }
}

/**
 * @param inner names of properties whose objects are wrapped likewise.
 * @returns a stand-in for `target` whose methods run `clock` until what they return has settled.
 */
export function driven<T extends object>(
  target: T,
  clock: VirtualClock,
  inner: readonly (keyof T)[] = []
): T {
  const wrapped = new Map<PropertyKey, object>()
  return new Proxy(target, {
    get(object, property) {
      const value: unknown = Reflect.get(object, property, object)
      if (typeof value === 'function') {
        return (...parameters: unknown[]): unknown => {
          // Called on the object itself: a stand-in has no private fields.
          const result: unknown = Reflect.apply(value, object, parameters)
          if (isPromise(result)) return clock.run(result)
          return isAsyncIterable(result) ? drivenIterable(result, clock) : result
        }
      }
      if (typeof value === 'object' && value !== null && inner.includes(property as keyof T)) {
        const known = wrapped.get(property) ?? driven(value, clock)
        wrapped.set(property, known)
        return known
      }
      return value
    }
  })
}
