// The service of names for files; file-records.ts has its keys.

import { COLLECTION, CYCLE } from './file-collection.ts'
import { MKDIR, MV, PUT, RM } from './file-operations.ts'
import { LIST, STAT } from './file-queries.ts'
import { PIN, REAP, UNPIN } from './file-release.ts'
import type { Service } from './operation.ts'
import { AREAS } from './state-keys.ts'

export const FILES: Service = {
  areas: [AREAS.file, AREAS['file-volume'], AREAS['file-trash'], AREAS['file-pin']],
  operations: [MKDIR, PUT, MV, RM, PIN, UNPIN, REAP, CYCLE],
  queries: [STAT, LIST, COLLECTION]
}
