// Each example runs as its first lines say, and prints what it is there to show.

import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const FOLDER = join(import.meta.dirname, '..', '..', 'examples')
const TIMEOUT_MS = 120_000

const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  '01-three-peers.ts': [
    'bafkreia3342ii3niltap54ptzode76jqabk5a3gzvxmcjjhtzhliih3kby says: hello, reef'
  ],
  '02-put-with-progress.ts': [
    'gave up: changed my mind',
    '100 %',
    'bafybeieyde6dcipntyazjaqceandc7hismger7dcpyakq7yy6t4ooq5eh4: 16777216 bytes in 17 blocks',
    '8 bytes from 3145724: CCCCDDDD',
    '2 members, 0 may fail'
  ],
  '03-test-mesh.ts': [
    'in two parts: the first sees 3, the fifth 2',
    'healed: the fifth sees 5',
    'without the first: still here',
    'started again: the first sees 5'
  ],
  '04-agree.ts': [
    'the second node reads blue, version 1',
    'Cannot put "config/colour": it is there, with version 2',
    'put config/size',
    'delete config/size',
    'the first holds jobs/backup: true',
    'the second has a higher token: true'
  ],
  '05-work.ts': [
    'one square: 144',
    'π is about 3.1',
    'the job squares: 5 done, 0 given up',
    'a square: 25',
    '3² + 4² = 25'
  ],
  'topology-word-count.ts': ['word_count has ended', 'fish 4000, star 1000']
}

describe('examples', () => {
  it('are all tested', () => {
    const names = readdirSync(FOLDER).filter((name) => name.endsWith('.ts'))
    expect(names.toSorted()).toEqual(Object.keys(EXPECTED))
  })

  it.each(Object.keys(EXPECTED))('%s runs and ends', async (name) => {
    const run = promisify(execFile)(process.execPath, [join(FOLDER, name)], {
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL'
    })
    const { stdout } = await run // It rejects when the exit code isn't 0.

    expect(stdout.split('\n')).toEqual(expect.arrayContaining([...(EXPECTED[name] ?? [])]))
  })
})
