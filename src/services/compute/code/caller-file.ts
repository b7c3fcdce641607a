// In which file a program says what it says.

import { fileURLToPath } from 'node:url'

const OWN_FILE = import.meta.filename

/** @param own the file of the function that asks @returns the file of whoever called it */
export function callerFile(own: string): string | undefined {
  const errors = Error as { prepareStackTrace?: unknown }
  const before = errors.prepareStackTrace
  try {
    errors.prepareStackTrace = (_: unknown, sites: unknown) => sites
    const sites = new Error('where').stack as unknown as NodeJS.CallSite[]
    for (const site of sites) {
      const name = site.getFileName()
      if (name === null || name === undefined || name.startsWith('node:')) continue
      const path = name.startsWith('file:') ? fileURLToPath(name) : name
      if (path !== own && path !== OWN_FILE) return path
    }
    return undefined
  } finally {
    errors.prepareStackTrace = before
  }
}
