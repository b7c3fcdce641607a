// The bytes of an entry, and of an answer that is remembered.

import { MeshError, ERROR_CODES, errorCodeFromNumber } from '../../base/errors.ts'
import type { ErrorCode } from '../../base/errors.ts'
import { bytes, decode, encode, label, record, uint, variant } from './codec.ts'
import type { Codec } from './codec.ts'
import { ANSWER_BYTES_MAX, COMMAND_BYTES_MAX, SPACE_BYTES_MAX } from './limits.ts'
import type { Operation } from './operation.ts'

/** Of ASCII. */
const OPERATION_NAME_LENGTH_MAX = 64
/** The first byte of a command. Another one is a form that this program doesn't know. */
const FORMAT = 1

/** What a client asks of a shard. */
export type Request = {
  /** What `client.register` answered; 0: a repeated request is done again. */
  readonly client: number
  /** Of the client's requests; a request that is repeated keeps its own. */
  readonly sequence: number
  /** The client has the answers of all sequences below this one: they may be forgotten. */
  readonly answeredBelow: number
  /** The space that all keys are of. Empty for operations on the shard itself. */
  readonly space: Uint8Array
  readonly operation: string
  readonly version: number
  readonly args: Uint8Array
}

/** A request as the leader puts it into the log. */
export type Command = Request & {
  /** The shard's time by the leader's clock; `leader-clock.ts` tells how to get it. */
  readonly stampMs: number
}

/** What the proposer is told. */
export type Answer =
  | {
      readonly kind: 'done'
      /** Of the shard afterwards. */
      readonly revision: number
      /** In the form of the operation. */
      readonly result: Uint8Array
    }
  /** Nothing was done. */
  | { readonly kind: 'refused'; readonly error: MeshError }

const space = bytes(SPACE_BYTES_MAX)
const operation = label(OPERATION_NAME_LENGTH_MAX)
const args = bytes(COMMAND_BYTES_MAX)

/** Written out, because every entry goes through it. */
const commandCodec: Codec<Command> = {
  write: (writer, command) => {
    writer.byte(FORMAT)
    writer.uint(command.stampMs)
    writer.uint(command.client)
    writer.uint(command.sequence)
    writer.uint(command.answeredBelow)
    space.write(writer, command.space)
    operation.write(writer, command.operation)
    writer.uint(command.version)
    args.write(writer, command.args)
  },
  read: (reader) => {
    const format = reader.byte()
    if (format !== FORMAT) {
      const problem = `it is of form ${format}, and this program knows form ${FORMAT}`
      throw new MeshError('version-mismatch', `Cannot read a command: ${problem}`)
    }
    return {
      stampMs: reader.uint(),
      client: reader.uint(),
      sequence: reader.uint(),
      answeredBelow: reader.uint(),
      space: space.read(reader),
      operation: operation.read(reader),
      version: reader.uint(),
      args: args.read(reader)
    }
  }
}

/** @throws too-large, invalid-argument */
export function encodeCommand(command: Command): Uint8Array {
  const encoded = encode(commandCodec, command)
  if (encoded.length > COMMAND_BYTES_MAX) throw tooLong(encoded.length)
  return encoded
}

/** @throws invalid-data, too-large; version-mismatch when it is of a form unknown here. */
export function decodeCommand(stored: Uint8Array): Command {
  if (stored.length > COMMAND_BYTES_MAX) throw tooLong(stored.length)
  return decode(commandCodec, stored)
}

/** @returns a request for an operation. @throws too-large, invalid-argument */
export function request<Args, Result>(
  operation: Operation<Args, Result>,
  args: Args,
  about: { space?: Uint8Array; client?: number; sequence?: number; answeredBelow?: number } = {}
): Request {
  const { client = 0, sequence = 0, answeredBelow = 0, space = new Uint8Array(0) } = about
  return {
    client,
    sequence,
    answeredBelow,
    space,
    operation: operation.name,
    version: operation.version,
    args: encode(operation.args, args)
  }
}

/** @returns what an operation answered. @throws what it was refused with; invalid-data */
export function resultOf<Args, Result>(operation: Operation<Args, Result>, answer: Answer): Result {
  if (answer.kind === 'refused') throw answer.error
  return decode(operation.result, answer.result)
}

type Remembered =
  | { readonly kind: 'done'; readonly revision: number; readonly result: Uint8Array }
  | { readonly kind: 'refused'; readonly code: number }

const rememberedCodec: Codec<Remembered> = variant<Remembered>({
  done: record({ revision: uint, result: bytes(ANSWER_BYTES_MAX) }),
  refused: record({ code: uint })
})

/**
 * The words of a refusal aren't remembered, only its code: programs may word it otherwise, and what
 * replicas store must be the same.
 */
export function encodeAnswer(answer: Answer): Uint8Array {
  if (answer.kind === 'done') return encode(rememberedCodec, answer)
  return encode(rememberedCodec, { kind: 'refused', code: ERROR_CODES[answer.error.code] })
}

export function decodeAnswer(stored: Uint8Array): Answer {
  const remembered = decode(rememberedCodec, stored)
  if (remembered.kind === 'done') return remembered
  const code: ErrorCode = errorCodeFromNumber(remembered.code)
  const error = new MeshError(code, `The request was refused before: ${code}`)
  return { kind: 'refused', error }
}

function tooLong(length: number): MeshError {
  const bound = `at most ${COMMAND_BYTES_MAX} are accepted`
  return new MeshError('too-large', `A command has ${length} bytes; ${bound}`)
}
