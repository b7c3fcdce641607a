// What `atoll-mesh` is for a module that travels with a task: the mesh itself is in the context.

import type { ErrorCode } from '../../../base/errors.ts'

export { task } from './task.ts'
export { MeshError } from '../../../base/errors.ts'
export { compare, op } from '../../kv/txn.ts'
export { topology } from '../../topology/topology.ts'

/**
 * As the package's own, and for errors of `kv`, `files` and `locks` too, whose class is another one
 * here.
 */
export function isMeshError(error: unknown, code?: ErrorCode): boolean {
  if (!(error instanceof Error) || error.name !== 'MeshError') return false
  return code === undefined || (error as { code?: unknown }).code === code
}
