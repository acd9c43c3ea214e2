import { vi } from 'vitest'

const PATIENT = Symbol.for('sevbus.tests.patience')

// Tests await states, and how long a busy machine takes to one is no finding: vitest's own second is too short for that.
// Said once by each process, which may run many files.
if (!(PATIENT in vi)) {
  const { waitFor } = vi
  Object.assign(vi, {
    [PATIENT]: true,
    waitFor: ((check, options = {}) =>
      waitFor(check, {
        timeout: 30_000,
        ...(typeof options === 'number' ? { timeout: options } : options),
      })) satisfies typeof waitFor,
  })
}
