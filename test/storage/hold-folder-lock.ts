// A process that takes a folder's lock, says so, and holds it until it is killed.

import { isMeshError } from '../../src/base/errors.ts'
import { lockFolder } from '../../src/storage/file/folder-lock.ts'

const [, , folder = ''] = process.argv
try {
  await lockFolder(folder)
  process.stdout.write('held\n')
  process.stdin.resume()
} catch (error) {
  if (!isMeshError(error, 'folder-locked')) throw error
  process.stdout.write('locked\n')
}
