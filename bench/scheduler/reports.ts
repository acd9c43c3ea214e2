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
import { quantile } from './requests.ts'

const TICK_MS = 10
const INTERVAL_S = 60
/** In one of some the process tidies up its memory, which is no part of a report. */
const TURNS = 5
/** Compilers work in threads of their own, and their CPU counts, too: in the fifth turn from the start they are at rest. */
const WARM_UPS = 4
/** Of the reports that say nothing new, as workers do (src/compute/host-reporter.ts). */
const ANSWERED_OF = 10

/** A worker as operators run it, without an audit, while every host reports once a minute. */
export async function benchReports(url: string, hosts: number, seconds: number): Promise<void> {
  const broker = await startInstalledRabbitMq()
  if (broker === undefined) throw new Error('install rabbitmq-server first')
  const fleet = await openFleet(url, hosts)
  const reports = Array.from({ length: hosts }, (_, n) => HostReport.parse(reportOf(n)))
  const workers = reports.map(() => {
    const kept = { worker_id: randomUUID(), machine: 'bench', pid: process.pid }
    let sequence = 0
    return () => ({ ...kept, sequence: ++sequence, clock_ms: Date.now() })
  })
  const digests = reports.map(reportDigest)
  await fleet.database.query(
    `update compute_hosts h set report_digest = r.digest
       from unnest($1::text[], $2::text[]) as r (host, digest) where r.host = h.host`,
    [reports.map(({ host }) => host), digests],
  )
  const worker = await startWorker({
    SEVBUS_TRANSPORT_URL: broker.url,
    SEVBUS_DATABASE_URL: fleet.url,
    // Of these hosts none is there to be asked what it runs.
    SEVBUS_SCHEDULER_AUDIT_INTERVAL_SECONDS: '0',
  })
  const client = await connect({ url: broker.url })
  try {
    const context = newRequestContext()
    let next = 0
    const reporting = async () => {
      const began = performance.now()
      const count = Math.round((hosts / INTERVAL_S) * seconds)
      const answers: Promise<unknown>[] = []
      for (let sent = 0; sent < count; sent++) {
        const n = next++ % hosts
        const report = { ...(reports[n] as HostReport), worker: (workers[n] as (typeof workers)[number])() }
        const { host, worker } = report
        // Nobody waits for the answer to another host.
        if (n % ANSWERED_OF === 0) answers.push(client.scheduler.announceHost(context, { report }))
        else await client.scheduler.reportHostUnchanged(context, { host, report_digest: digests[n] as string, worker })
        await sleep(Math.max(0, began + (sent * INTERVAL_S * 1000) / hosts - performance.now()))
      }
      await Promise.all(answers)
      return count
    }
    for (let turn = 0; turn < WARM_UPS; turn++) await reporting()
    const rest = await worker.cpuOf(() => sleep(seconds * 1000))
    const idle = rest.cpuMs / rest.wallMs
    const turns: number[] = []
    let sent = 0
    const began = performance.now()
    for (let turn = 0; turn < TURNS; turn++) {
      const { result, cpuMs } = await worker.cpuOf(reporting)
      sent += result
      // By what a report costs, so that a machine that is busy, and sends them late, makes it look no cheaper.
      turns.push(cpuMs / result)
    }
    const reportMs = quantile(
      turns.toSorted((a, b) => a - b),
      0.5,
    )
    const share = (reportMs * hosts) / (INTERVAL_S * 1000)
    const late = await fleet.database.query(
      `select count(*)::integer as seen from compute_hosts where last_seen_up > now() - make_interval(secs => $1)`,
      [(performance.now() - began) / 1000 + 1],
    )
    console.log(`a scheduler of ${hosts} hosts that report every ${INTERVAL_S} s: ${sent} reports, of which one of ${ANSWERED_OF} tells
everything and is answered, and the others that nothing is new, as workers do; ${TURNS} turns, the median counts
(ms of CPU for a report in each of them: ${turns.map((ms) => ms.toFixed(3)).join(', ')})`)
    console.table([
      {
        'of a core': `${(share * 100).toFixed(1)} %`,
        'at rest': `${(idle * 100).toFixed(1)} %`,
        aim: '<= 5 %',
        'a report, ms CPU': reportMs.toFixed(3),
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
    async cpuOf<T>(work: () => Promise<T>): Promise<{ result: T; cpuMs: number; wallMs: number }> {
      const [cpuBefore, began] = [cpuMs(), performance.now()]
      const result = await work()
      return { result, cpuMs: cpuMs() - cpuBefore, wallMs: performance.now() - began }
    },
    mib: (field: string) =>
      Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${worker.pid}/status`, 'utf8'))?.[1]) / 1024,
    async end() {
      worker.kill('SIGTERM')
      await once(worker, 'exit')
    },
  }
}
