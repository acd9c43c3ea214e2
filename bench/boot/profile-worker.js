import { mkdirSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'

/**
 * Preloaded into a worker: Node takes no `--cpu-prof` from NODE_OPTIONS. SIGUSR2 begins a profile, and the next one writes it, so
 * that nothing of a start or of a removal is in it.
 */
const folder = process.env.BENCH_PROFILE_FOLDER
const session = new Session()
session.connect()
session.post('Profiler.enable')
let [written, isRunning] = [0, false]
process.on('SIGUSR2', () => {
  isRunning = !isRunning
  if (isRunning) return session.post('Profiler.start')
  session.post('Profiler.stop', (error, result) => {
    if (error) throw error
    mkdirSync(folder, { recursive: true })
    const name = `${process.argv[2]}-${process.pid}-${written++}.cpuprofile`
    writeFileSync(join(folder, name), JSON.stringify(result.profile))
  })
})
