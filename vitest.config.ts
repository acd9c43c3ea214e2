import { defineConfig } from 'vitest/config'
import LongFirst from './test/long-first.ts'

/** What changes its own process, its clock, or what others see of the machine: each file in a process to itself. */
const APART = [
  'test/{examples,lint,servers,simulation}/**/*.test.ts',
  'test/cli/{demo-folder,readme}.test.ts',
  'test/compose/traces.test.ts',
  'test/compute/disks/killed-worker.test.ts',
]

const each = {
  setupFiles: ['test/servers/leave-with-parent.ts', 'test/servers/patience.ts'],
  pool: 'forks' as const,
  // For what hangs: thousands of cases on a busy machine are no failure.
  testTimeout: 240_000,
  hookTimeout: 90_000,
  teardownTimeout: 30_000,
}

export default defineConfig({
  test: {
    projects: [
      { test: { ...each, name: 'apart', include: APART } },
      // Everything else shares a few processes, also what starts others: to load the same modules and to start an embedded
      // database takes longer than most tests.
      { test: { ...each, name: 'together', include: ['test/**/*.test.ts'], exclude: APART, isolate: false } },
    ],
    globalSetup: ['test/servers/global-setup.ts'],
    reporters: ['default', './test/servers/summary-reporter.ts'],
    // Tests wait for brokers, disks and guests more than they compute: two more use what two cores have left.
    // A libvirt that is given is one host: its tests take turns.
    maxWorkers: process.env.SEVBUS_TEST_LIBVIRT ? 1 : 4,
    sequence: { sequencer: LongFirst },
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
