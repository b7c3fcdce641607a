// The services that a shard has. All replicas must have the same.

import { FILES } from './files.ts'
import { JOBS } from './jobs.ts'
import { KV } from './kv.ts'
import { LOCKS } from './locks.ts'
import type { Service } from './operation.ts'

export const SERVICES: readonly Service[] = [KV, LOCKS, FILES, JOBS]
