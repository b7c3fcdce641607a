// A oneof of protobuf, by hand: of some fields of a message exactly one is there, and says of which
// kind the message is.

import { malformed } from './proto.ts'
import { bytesOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'
import type { ProtoField } from './proto-writer.ts'

export class OneOf<Kind extends string> {
  readonly #name: string
  readonly #fields: Readonly<Record<Kind, number>>
  readonly #kinds: ReadonlyMap<number, Kind>

  /** @param name what is of a kind, in the words of errors: `it`, `a call` */
  constructor(name: string, fields: Readonly<Record<Kind, number>>) {
    const entries = Object.entries(fields) as [Kind, number][]
    this.#name = name
    this.#fields = fields
    this.#kinds = new Map(entries.map(([kind, field]) => [field, kind]))
  }

  write(writer: ProtoWriter, kind: Kind, content: Uint8Array): void {
    writer.present(this.#fields[kind], content)
  }

  /** @returns a message that has nothing else */
  encode(kind: Kind, content: Uint8Array): Uint8Array {
    const writer = new ProtoWriter(content.length + 16)
    this.write(writer, kind, content)
    return writer.finish()
  }

  /** Of a message that has nothing else: the content is a view. @throws invalid-data */
  decode(bytes: Uint8Array, what: string): { kind: Kind; content: Uint8Array } {
    let found: ProtoField | undefined
    for (const field of readFields(bytes, what)) found = this.take(found, field, what)
    const { kind, field } = this.demand(found, what)
    return { kind, content: bytesOf(field, what, bytes.length) }
  }

  /** @returns a field that says the kind, or what was found before it @throws invalid-data for two */
  take(found: ProtoField | undefined, field: ProtoField, what: string): ProtoField | undefined {
    if (!this.#kinds.has(field.field)) return found
    if (found !== undefined) throw malformed(what, `${this.#name} is of two kinds`)
    return field
  }

  /** @throws invalid-data when none was found */
  demand(field: ProtoField | undefined, what: string): { kind: Kind; field: ProtoField } {
    const kind = field === undefined ? undefined : this.#kinds.get(field.field)
    if (field !== undefined && kind !== undefined) return { kind, field }
    throw malformed(what, `${this.#name} is of no kind that is known here`)
  }
}
