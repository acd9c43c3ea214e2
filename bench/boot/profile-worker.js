import { mkdirSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'

/** Preloaded into a worker: Node takes no `--cpu-prof` from NODE_OPTIONS. */
const folder = process.env.BENCH_PROFILE_FOLDER
const session = new Session()
session.connect()
session.post('Profiler.enable')
session.post('Profiler.start')
process.on('exit', () => {
  session.post('Profiler.stop', (error, result) => {
    if (error) throw error
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, `${process.argv[2]}-${process.pid}.cpuprofile`), JSON.stringify(result.profile))
  })
})
