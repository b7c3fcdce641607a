// Whether a file is as this program left it, so that what is known of it still holds: nobody has written
// to it since, and the machine hasn't been switched off, after which a disk may have anything. (D-18)

import { readFile, stat, writeFile } from 'node:fs/promises'

import { isMissing } from '../file-ops.ts'

/** Another one at each start of the machine. Where there is none nothing is known. */
const BOOT = '/proc/sys/kernel/random/boot_id'

/** Times of files are exact to so much, at worst: what was written later has another one. */
export const FILE_TIME_MS = 12

export class Untouched {
  readonly #path: string
  readonly #notePath: string
  readonly #bootPath: string

  /** @param notePath of the file that says how it was left */
  constructor(path: string, notePath: string, bootPath: string = BOOT) {
    this.#path = path
    this.#notePath = notePath
    this.#bootPath = bootPath
  }

  /** It is as it should be. To be called {@link FILE_TIME_MS} after the last write to it. */
  async note(): Promise<void> {
    const now = await this.#now()
    if (now !== undefined) await writeFile(this.#notePath, now)
  }

  /** @returns whether it is as it was when `note` was called last */
  async isSo(): Promise<boolean> {
    const now = await this.#now()
    return now !== undefined && now === (await ifThere(readFile(this.#notePath, 'utf8')))
  }

  async #now(): Promise<string | undefined> {
    const boot = await ifThere(readFile(this.#bootPath, 'utf8'))
    const file = await ifThere(stat(this.#path, { bigint: true }))
    if (boot === undefined || file === undefined) return undefined
    return `${boot.trim()} ${file.ino} ${file.size} ${file.mtimeNs}\n`
  }
}

async function ifThere<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}
