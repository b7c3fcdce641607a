// Reads the fields of JSON that others wrote, each against its kind and its bound; an error names
// the field.

import { utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import type { ErrorCode } from '../../base/errors.ts'

/** What is said of the whole, and of which kind its errors are. */
export type JsonContext = { readonly what: string; readonly code: ErrorCode }

/** An object of which every field must be read: {@link end} refuses what wasn't asked for. */
export class JsonFields {
  readonly #context: JsonContext
  readonly #path: string
  readonly #fields: ReadonlyMap<string, unknown>
  readonly #read = new Set<string>()

  /** @param path of the object in the whole; empty for the whole itself */
  constructor(value: unknown, context: JsonContext, path = '') {
    this.#context = context
    this.#path = path
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.error(undefined, 'is no object')
    }
    this.#fields = new Map(Object.entries(value))
  }

  has(name: string): boolean {
    return this.#fields.has(name)
  }

  /** @param bytesMax in UTF-8 */
  text(name: string, { bytesMin = 0, bytesMax }: { bytesMin?: number; bytesMax: number }): string {
    const value = this.#value(name)
    if (typeof value !== 'string') throw this.error(name, 'is no text')
    // Half a character is none in UTF-8.
    if (!value.isWellFormed()) throw this.error(name, 'has half a surrogate pair')
    const { length } = utf8(value)
    if (length >= bytesMin && length <= bytesMax) return value
    throw this.error(name, `has ${length} bytes; ${bytesMin} to ${bytesMax} can be`)
  }

  /** A whole number. */
  number(name: string, { min = 0, max }: { min?: number; max: number }): number {
    const value = this.#value(name)
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
      throw this.error(name, 'is no whole number')
    }
    // There is a −0 in JSON.
    if (value >= min && value <= max) return value === 0 ? 0 : value
    throw this.error(name, `is ${value}; ${min} to ${max} can be`)
  }

  flag(name: string): boolean {
    const value = this.#value(name)
    if (typeof value !== 'boolean') throw this.error(name, 'is neither true nor false')
    return value
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T {
    const value = this.#value(name)
    const choice = choices.find((one) => one === value)
    if (choice !== undefined) return choice
    throw this.error(name, `is none of ${choices.join(', ')}`)
  }

  object(name: string): JsonFields {
    return new JsonFields(this.#value(name), this.#context, this.#pathOf(name))
  }

  /** @param read is given the list as an object, and the name of the item in it: its place */
  list<T>(name: string, countMax: number, read: (list: JsonFields, place: string) => T): T[] {
    const value = this.#value(name)
    if (!Array.isArray(value)) throw this.error(name, 'is no list')
    if (value.length > countMax) {
      throw this.error(name, `has ${value.length} items; at most ${countMax} can be`)
    }
    const list = new JsonFields(
      Object.fromEntries(value.entries()),
      this.#context,
      this.#pathOf(name)
    )
    return value.map((_, place) => read(list, String(place)))
  }

  /** To be called last. @throws when there are fields that weren't asked for */
  end(): void {
    for (const name of this.#fields.keys()) {
      if (!this.#read.has(name)) throw this.error(name, 'is not known here')
    }
  }

  /** @returns an error about a field, or about the object itself. */
  error(name: string | undefined, problem: string): MeshError {
    const { what, code } = this.#context
    const path = name === undefined ? this.#path : this.#pathOf(name)
    return new MeshError(code, `Malformed ${what}: ${path === '' ? 'it' : path} ${problem}`)
  }

  #value(name: string): unknown {
    if (!this.#fields.has(name)) throw this.error(name, 'is missing')
    this.#read.add(name)
    return this.#fields.get(name)
  }

  #pathOf(name: string): string {
    const short = name.slice(0, 80)
    return this.#path === '' ? short : `${this.#path}.${short}`
  }
}
