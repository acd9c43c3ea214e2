import { runProgram } from './cli/program.ts'
import { tellSourcePlaces } from './source-places.ts'

tellSourcePlaces()

// `sevbus list | head` closes our output early: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

process.exitCode = await runProgram(process.argv)
