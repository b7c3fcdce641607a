// The state store on disk.

import { join } from 'node:path'

import {
  LayeredStateStore,
  type StateStoreComponents,
  type StateStoreOptions
} from '../../state/layered-state-store.ts'
import { LmdbMedium } from './lmdb-medium.ts'
import { StateFolder } from './state-folder.ts'

export type FileStateStoreOptions = StateStoreOptions & {
  /** The node's data folder, which must be there. The state goes to `DIR/state`. */
  readonly dir: string
}

/** Hold the folder's lock (`lockFolder`) while it is open. */
export class FileStateStore extends LayeredStateStore {
  constructor(components: StateStoreComponents, options: FileStateStoreOptions) {
    const folder = new StateFolder(join(options.dir, 'state'), components.logger)
    super({ ...components, medium: new LmdbMedium(folder) }, options)
  }
}
