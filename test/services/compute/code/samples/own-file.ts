// Tasks that need what is around them: they travel with this file and what it imports.

import { extname } from 'node:path'
import { task, type TaskDefinition } from '../../../../../src/services/compute/code/task.ts'
import { twice } from './arithmetic.ts'

const suffix: string = '!'

export const shout: TaskDefinition<string, string> = task(
  'shout',
  (_, text: string) => `${text}${suffix}`
)

export const double: TaskDefinition<readonly number[], number[]> = task(
  'double',
  (_, numbers: readonly number[]) => numbers.map(twice)
)

export const ending: TaskDefinition<string, string> = task('ending', (_, path: string) =>
  extname(path)
)
