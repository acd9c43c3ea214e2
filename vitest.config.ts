import { defineConfig } from 'vitest/config'
import LongFirst from './test/long-first.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/servers/leave-with-parent.ts'],
    globalSetup: ['test/servers/global-setup.ts'],
    reporters: ['default', './test/servers/summary-reporter.ts'],
    pool: 'forks',
    // Tests wait for brokers, disks and guests more than they compute: a third one uses what two cores have left.
    maxWorkers: 3,
    sequence: { sequencer: LongFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      // The tests run these as programs, in processes of their own that this does not see into.
      exclude: ['src/main.ts', 'src/cli/**', 'src/compose/**'],
      reporter: ['text-summary', 'html', 'json-summary'],
      thresholds: {
        lines: 95,
        branches: 85,
        'src/objects/**': { lines: 100, branches: 93 },
        'src/scheduler/{filters,weighers}/**': { lines: 100, branches: 95 },
        'src/compute/libvirt/configurators/**': { lines: 98, branches: 90 },
      },
    },
  },
})
