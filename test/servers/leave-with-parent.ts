// A worker of the test runner that was killed would run its test to the end, with nobody to report to.
process.once('disconnect', () => process.exit(1))
