import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startInstalledRabbitMq } from '../src/servers/installed-rabbitmq.ts'
import { ServerHome } from '../src/servers/server-home.ts'
import { startInstalledPostgres } from '../test/servers/installed-postgres.ts'

const HELP = `Starts each worker as a process of its own on a private RabbitMQ and PostgreSQL, leaves it idle, and prints its
peak memory (VmHWM): what an operator has to give it.

  npm run bench:memory -- [--seconds N]     how long it idles (default 20)
`
const AIM_MB = 90

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '20' }, help: { type: 'boolean', default: false } },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}

const broker = await startInstalledRabbitMq()
const database = await startInstalledPostgres()
if (broker === undefined || database === undefined) throw new Error('install rabbitmq-server and postgresql first')
const home = await ServerHome.create('bench')
const env = {
  ...process.env,
  SEVBUS_TRANSPORT_URL: broker.url,
  SEVBUS_DATABASE_URL: database.url,
  SEVBUS_COMPUTE_STATE_FOLDER: home.path('host'),
}

/** One worker: starts, idles, ends. @returns MiB, at rest and at most */
async function measure(args: readonly string[], isReady: RegExp, more: NodeJS.ProcessEnv = {}) {
  const worker = spawn(process.execPath, ['bin/sevbus.js', ...args], {
    env: { ...env, ...more },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  try {
    for await (const line of createInterface({ input: worker.stderr })) if (isReady.test(line)) break
    worker.stderr.resume()
    await sleep(Number(values.seconds) * 1000)
    const status = readFileSync(`/proc/${worker.pid}/status`, 'utf8')
    const mib = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024
    return { 'at rest': mib('VmRSS').toFixed(0), peak: mib('VmHWM').toFixed(0), aim: `<= ${AIM_MB}` }
  } finally {
    worker.kill('SIGTERM')
    await once(worker, 'exit')
  }
}

try {
  const migrate = spawn(process.execPath, ['bin/sevbus.js', 'db', 'migrate'], { env, stdio: 'ignore' })
  await once(migrate, 'exit')
  console.log('an idle worker, MiB')
  console.table({
    conductor: await measure(['conductor'], /conductor is ready/),
    scheduler: await measure(['scheduler'], /scheduler is ready/),
    compute: await measure(['compute', '--host', 'idle'], /compute worker is ready/),
    'compute, monitored': await measure(['compute', '--host', 'idle'], /compute worker is ready/, {
      SEVBUS_WORKER_MONITOR_PORT: '0',
    }),
  })
} finally {
  await database.close()
  await broker.close()
  await home.close()
}
