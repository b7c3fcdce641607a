import { defineConfig } from 'vitest/config'

// Unit tests use virtual time and run in parallel; end-to-end tests start real processes and run
// one file after another, so that they don't starve each other.
export default defineConfig({
  test: {
    // One less than there are processors would be one on a small machine.
    maxWorkers: '100%',
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**'],
          testTimeout: 60_000
        }
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 60_000,
          fileParallelism: false
        }
      }
    ]
  }
})
