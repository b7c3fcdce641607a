// The engine setting that bin/atoll.js makes, for every process of a bench alike.

import { setFlagsFromString } from 'node:v8'

/** To be called first of all. */
export function setUpEngine(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit')
}
