const LEAVES = Symbol.for('sevbus.tests.leave-with-parent')

// A worker of the test runner that was killed would run its test to the end, with nobody to report to. Said once by each
// process, which may run many files.
if (!(LEAVES in process)) {
  Object.assign(process, { [LEAVES]: true })
  process.once('disconnect', () => process.exit(1))
}
