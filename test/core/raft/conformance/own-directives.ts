// Directives that only files of this project use: what the files from outside don't reach.

import type { Directive } from './data-file.ts'
import type { Environment } from './environment.ts'

export const OWN_DIRECTIVES: Readonly<
  Record<string, (env: Environment, directive: Directive) => void>
> = {}
