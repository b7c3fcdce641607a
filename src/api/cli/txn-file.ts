// A transaction as "atoll kv txn" reads it: JSON.

import { MeshError, errorMessage } from '../../base/errors.ts'
import type { Compare, Part } from '../../core/machine/kv.ts'
import { compare, op } from '../../services/kv/txn.ts'

export const TXN_HELP: string = `
FILE has JSON, such as:
  {
    "if":   [ { "key": "config/a", "version": 3 }, { "key": "config/b", "exists": false } ],
    "then": [ { "put": "config/a", "value": "new" }, { "delete": "config/draft" } ],
    "else": [ { "get": "config/a" } ]
  }
All of "if" must hold for "then" to be done, otherwise "else" is; all keys are of one space.
  if          "exists": true or false; or "value", "version", "revision", "createRevision" or
              "lease", with "is": "=" (which it is when left out), "!=", "<" or ">"
  then, else  get, put (with "value"), delete; append (to a prefix, with "value"); list and
              deleteRange (of a prefix, with "limit")
"base64": true beside a "value" says that it is base64.`

export type TxnFile = {
  readonly conditions: readonly Compare[]
  readonly success: readonly Part[]
  readonly failure: readonly Part[]
}

type Fields = Readonly<Record<string, unknown>>
const RELATIONS = ['=', '!=', '<', '>'] as const
const NUMBERS = ['version', 'revision', 'createRevision', 'lease'] as const
const VERBS = ['get', 'put', 'delete', 'append', 'list', 'deleteRange'] as const
/** What may stand beside a verb. */
const EXTRAS: Readonly<Record<(typeof VERBS)[number], readonly string[]>> = {
  get: [],
  put: ['value', 'base64'],
  delete: [],
  append: ['value', 'base64'],
  list: ['limit'],
  deleteRange: ['limit']
}

/** @throws invalid-argument, with the place of what is wrong */
export function parseTxn(json: string): TxnFile {
  const file = fieldsOf(parseJson(json), 'the file')
  checkNames(file, ['if', 'then', 'else'], 'the file')
  return {
    conditions: listOf(file, 'if').map((item, index) => conditionOf(item, `if[${index}]`)),
    success: listOf(file, 'then').map((item, index) => partOf(item, `then[${index}]`)),
    failure: listOf(file, 'else').map((item, index) => partOf(item, `else[${index}]`))
  }
}

function conditionOf(item: unknown, at: string): Compare {
  const fields = fieldsOf(item, at)
  checkNames(fields, ['key', 'exists', 'value', 'base64', 'is', ...NUMBERS], at)
  const key = textOf(fields, 'key', at)
  const kinds = ['exists', 'value', ...NUMBERS].filter((name) => fields[name] !== undefined)
  if (kinds.length !== 1) throw wrong(at, `wants one of exists, value, ${NUMBERS.join(', ')}`)
  const { is = '=', exists } = fields
  const relation = RELATIONS.find((known) => known === is)
  if (relation === undefined) throw wrong(at, `"is" takes ${RELATIONS.join(' ')}`)
  if (exists !== undefined) {
    if (typeof exists !== 'boolean' || fields['is'] !== undefined) {
      throw wrong(at, '"exists" takes true or false, without "is"')
    }
    return exists ? compare.exists(key) : compare.absent(key)
  }
  const field = NUMBERS.find((name) => fields[name] !== undefined)
  if (field === undefined) return compare.value(key, relation, valueOf(fields, at))
  return compare[field](key, relation, numberOf(fields, field, at))
}

function partOf(item: unknown, at: string): Part {
  const fields = fieldsOf(item, at)
  const [verb, ...others] = VERBS.filter((name) => fields[name] !== undefined)
  if (verb === undefined || others.length > 0) throw wrong(at, `wants one of ${VERBS.join(', ')}`)
  checkNames(fields, [verb, ...EXTRAS[verb]], at)
  const key = textOf(fields, verb, at)
  if (verb === 'get') return op.get(key)
  if (verb === 'delete') return op.delete(key)
  if (verb === 'put' || verb === 'append') return op[verb](key, valueOf(fields, at))
  const limit = fields['limit'] === undefined ? undefined : numberOf(fields, 'limit', at)
  return op[verb](key, { limit })
}

function valueOf(fields: Fields, at: string): string | Uint8Array {
  const text = textOf(fields, 'value', at)
  const { base64 = false } = fields
  if (typeof base64 !== 'boolean') throw wrong(at, '"base64" takes true or false')
  if (!base64) return text
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw wrong(at, '"value" is not base64')
  return new Uint8Array(Buffer.from(text, 'base64'))
}

function textOf(fields: Fields, name: string, at: string): string {
  const text = fields[name]
  if (typeof text === 'string') return text
  throw wrong(at, `"${name}" takes a text`)
}

function numberOf(fields: Fields, name: string, at: string): number {
  const number = fields[name]
  if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number
  throw wrong(at, `"${name}" takes a whole number from 0`)
}

function listOf(fields: Fields, name: string): readonly unknown[] {
  const items = fields[name] ?? []
  if (Array.isArray(items)) return items
  throw wrong(name, 'is a list')
}

function fieldsOf(item: unknown, at: string): Fields {
  if (typeof item === 'object' && item !== null && !Array.isArray(item)) return item as Fields
  throw wrong(at, 'is an object')
}

/** A misspelled name must not pass for one that was left out. */
function checkNames(fields: Fields, known: readonly string[], at: string): void {
  const unknown = Object.keys(fields).find((name) => !known.includes(name))
  if (unknown !== undefined) throw wrong(at, `does not know "${unknown}"`)
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json) as unknown
  } catch (error) {
    throw new MeshError('invalid-argument', `The transaction is not JSON: ${errorMessage(error)}`, {
      cause: error
    })
  }
}

function wrong(at: string, problem: string): MeshError {
  const advice = 'see: atoll kv txn --help'
  return new MeshError('invalid-argument', `The transaction is wrong: ${at} ${problem}; ${advice}`)
}
