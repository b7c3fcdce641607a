// How values of tasks are written: as structured clones. Reading one runs the engine's own code on
// bytes that others made, so it is done where a task runs and where a job was submitted; the peer
// process passes the bytes along.

import { deserialize, serialize } from 'node:v8'
import { MeshError, errorMessage } from '../base/errors.ts'

/** @throws invalid-argument when it has a function, a symbol or a socket in it */
export function encodeValue(value: unknown): Uint8Array {
  try {
    return serialize(value)
  } catch (error) {
    throw new MeshError('invalid-argument', `Cannot encode the value: ${errorMessage(error)}`, {
      cause: error
    })
  }
}

/** @throws invalid-data */
export function decodeValue(bytes: Uint8Array): unknown {
  try {
    return deserialize(bytes)
  } catch (error) {
    throw new MeshError('invalid-data', `Cannot decode the value: ${errorMessage(error)}`, {
      cause: error
    })
  }
}
