// The log store on disk.

import { join } from 'node:path'

import {
  SegmentedLogStore,
  type LogStoreComponents,
  type LogStoreOptions
} from '../../log/segmented-log-store.ts'
import { nodeFileOps, type FileOps } from '../file-ops.ts'
import { FileLogFolder } from './file-log-folder.ts'

export type FileLogStoreOptions = LogStoreOptions & {
  /** The node's data folder, which must be there. The log goes to `DIR/log`. */
  readonly dir: string
}

/** Hold the folder's lock (`lockFolder`) while it is open. */
export class FileLogStore extends SegmentedLogStore {
  constructor(components: LogStoreComponents & { ops?: FileOps }, options: FileLogStoreOptions) {
    const { ops = nodeFileOps, ...others } = components
    super({ ...others, folder: new FileLogFolder(ops, join(options.dir, 'log')) }, options)
  }
}
