import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, newRequestContext } from '../../dist/client.js'
import { HostReport } from '../../dist/contracts.js'
import { reportDigest } from '../../dist/scheduler/placement/host-records.js'
import { startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import { openFleet, reportOf } from './fleet.ts'

const TICK_MS = 10
const INTERVAL_S = 60
/** Of the reports that say nothing new, as workers do (src/compute/host-reporter.ts). */
const ANSWERED_OF = 10

/** A worker as operators run it, while every host reports once a minute. */
export async function benchReports(url: string, hosts: number, seconds: number): Promise<void> {
  const broker = await startInstalledRabbitMq()
  if (broker === undefined) throw new Error('install rabbitmq-server first')
  const fleet = await openFleet(url, hosts)
  const reports = Array.from({ length: hosts }, (_, n) => HostReport.parse(reportOf(n)))
  const workers = reports.map(() => {
    const kept = { worker_id: randomUUID(), machine: 'bench', pid: process.pid, clock_ms: Date.now() }
    let sequence = 0
    return () => ({ ...kept, sequence: ++sequence })
  })
  await fleet.database.query(
    `update compute_hosts h set report_digest = r.digest
       from unnest($1::text[], $2::text[]) as r (host, digest) where r.host = h.host`,
    [reports.map(({ host }) => host), reports.map(reportDigest)],
  )
  const worker = await startWorker({ SEVBUS_TRANSPORT_URL: broker.url, SEVBUS_DATABASE_URL: fleet.url })
  const client = await connect({ url: broker.url })
  try {
    const idle = await worker.shareOfCore(() => sleep(seconds * 1000))
    const context = newRequestContext()
    const reporting = async () => {
      const began = performance.now()
      for (let sent = 0; sent < (hosts / INTERVAL_S) * seconds; sent++) {
        const report = { ...(reports[sent % hosts] as HostReport), worker: workers[sent % hosts]?.() }
        if (sent % ANSWERED_OF === 0) await client.scheduler.announceHost(context, { report })
        else await client.scheduler.reportHost(context, { report })
        await sleep(Math.max(0, began + (sent * INTERVAL_S * 1000) / hosts - performance.now()))
      }
    }
    // Compilers work in threads of their own, and their CPU counts, too: first they come to rest.
    await reporting()
    const busy = await worker.shareOfCore(reporting)
    const late = await fleet.database.query(
      `select count(*)::integer as seen from compute_hosts where last_seen_up > now() - make_interval(secs => $1)`,
      [seconds + 1],
    )
    console.log(`a scheduler of ${hosts} hosts that report every ${INTERVAL_S} s (${seconds} s measured)`)
    console.table([
      {
        'of a core': `${(busy * 100).toFixed(1)} %`,
        'of it at rest': `${(idle * 100).toFixed(1)} %`,
        aim: '<= 5 %',
        'reports noted': late[0]?.seen,
        'memory, MiB': worker.mib('VmRSS').toFixed(0),
        'at most': worker.mib('VmHWM').toFixed(0),
        'aim, MiB': '<= 200',
      },
    ])
  } finally {
    await client.close()
    await worker.end()
    await fleet.close()
    await broker.close()
  }
}

async function startWorker(env: NodeJS.ProcessEnv) {
  const worker = spawn(process.execPath, ['bin/sevbus.js', 'scheduler'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  for await (const line of createInterface({ input: worker.stderr })) if (/scheduler is ready/.test(line)) break
  worker.stderr.resume()
  const cpuMs = () => {
    const stat = readFileSync(`/proc/${worker.pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  }
  return {
    async shareOfCore(work: () => Promise<unknown>): Promise<number> {
      const [cpuBefore, began] = [cpuMs(), performance.now()]
      await work()
      return (cpuMs() - cpuBefore) / (performance.now() - began)
    },
    mib: (field: string) =>
      Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${worker.pid}/status`, 'utf8'))?.[1]) / 1024,
    async end() {
      worker.kill('SIGTERM')
      await once(worker, 'exit')
    },
  }
}
