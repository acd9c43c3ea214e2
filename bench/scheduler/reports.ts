import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, newRequestContext } from '../../dist/client.js'
import { HostReport, SchedulerApi } from '../../dist/contracts.js'
import { DEFAULT_BUS_NAMES as names, topicOf } from '../../dist/rpc/names.js'
import { SIGNS_OF_LIFE } from '../../dist/scheduler/hosts/signs-of-life.js'
import { reportDigest } from '../../dist/scheduler/placement/host-records.js'
import { startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import { openFleet, reportOf } from './fleet.ts'
import { type Spent, spendOf, startMeasured } from './measured-process.ts'
import { quantile } from './requests.ts'

const INTERVAL_S = 60
/** In one of some the process tidies up its memory, which is no part of a report. */
const TURNS = 5
/** Compilers work in threads of their own, and their CPU counts, too: in the fifth turn from the start they are at rest. */
const WARM_UPS = 4
/** Of the reports that say nothing new, as workers do (src/compute/host-reporter.ts). */
const ANSWERED_OF = 10

/**
 * A worker as operators run it, without an audit, while every host reports once a minute; and beside it a bare reader on
 * amqplib that is sent the same messages at the same time, parses and acknowledges them, and does nothing else. Messages
 * that come one by one cost mostly the waking up, which the machine prices: on a virtual one that is otherwise idle, the
 * same work can take ten times the CPU that it takes without pauses.
 */
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
  const worker = await startMeasured(['bin/sevbus.js', 'scheduler'], /scheduler is ready/, {
    SEVBUS_TRANSPORT_URL: broker.url,
    SEVBUS_DATABASE_URL: fleet.url,
    // Of these hosts none is there to be asked what it runs.
    SEVBUS_SCHEDULER_AUDIT_INTERVAL_SECONDS: '0',
  })
  const topic = topicOf(names, SchedulerApi)
  const bare = await startMeasured(
    ['bench/scheduler/bare-reader.js', broker.url, names.exchange, topic, `${topic}.${SIGNS_OF_LIFE.server}`],
    /bare reader is ready/,
  )
  const client = await connect({ url: broker.url })
  try {
    const context = newRequestContext()
    let next = 0
    let server: string | undefined
    const announce = async (report: HostReport) => {
      server = (await client.scheduler.announceHost(context, { report })).unchanged_server
    }
    const reporting = async () => {
      const began = performance.now()
      const count = Math.round((hosts / INTERVAL_S) * seconds)
      const answers: Promise<unknown>[] = []
      for (let sent = 0; sent < count; sent++) {
        const n = next++ % hosts
        const report = { ...(reports[n] as HostReport), worker: (workers[n] as (typeof workers)[number])() }
        const { host, worker } = report
        // Nobody waits for the answer to another host.
        if (n % ANSWERED_OF === 0) answers.push(announce(report))
        else {
          const unchanged = { host, report_digest: digests[n] as string, worker }
          await client.scheduler.reportHostUnchanged(context, unchanged, server === undefined ? {} : { server })
        }
        await sleep(Math.max(0, began + (sent * INTERVAL_S * 1000) / hosts - performance.now()))
      }
      await Promise.all(answers)
      return count
    }
    for (let turn = 0; turn < WARM_UPS; turn++) await reporting()
    const [rest] = await spendOf([worker], () => sleep(seconds * 1000))
    const turns: { readonly ours: Spent; readonly bares: Spent; readonly sent: number }[] = []
    const began = performance.now()
    for (let turn = 0; turn < TURNS; turn++) {
      let sent = 0
      const [ours, bares] = await spendOf([worker, bare], async () => {
        sent = await reporting()
      })
      turns.push({ ours, bares, sent })
    }
    const sent = turns.reduce((sum, turn) => sum + turn.sent, 0)
    // By what a report costs, so that a machine that is busy, and sends them late, makes it look no cheaper.
    const each = (cost: (turn: (typeof turns)[number]) => number) => median(turns.map((turn) => cost(turn) / turn.sent))
    const share = (ms: number) => `${((100 * ms * hosts) / (INTERVAL_S * 1000)).toFixed(1)} %`
    const reportMs = each(({ ours }) => ours.cpuMs)
    const bareMs = each(({ bares }) => bares.cpuMs)
    const late = await fleet.database.query(
      `select count(*)::integer as seen from compute_hosts where last_seen_up > now() - make_interval(secs => $1)`,
      [(performance.now() - began) / 1000 + 1],
    )
    console.log(`a scheduler of ${hosts} hosts that report every ${INTERVAL_S} s: ${sent} reports, of which one of ${ANSWERED_OF} tells
everything and is answered, and the others that nothing is new, as workers do; ${TURNS} turns, the median counts
(ms of CPU for a report in each of them: ${turns.map((turn) => (turn.ours.cpuMs / turn.sent).toFixed(3)).join(', ')})`)
    console.table({
      scheduler: {
        'of a core': share(reportMs),
        aim: '<= 5 %',
        'of the bare reader': (reportMs / bareMs).toFixed(2),
        'a report, ms CPU': reportMs.toFixed(3),
        'wake-ups': each(({ ours }) => ours.wakeUps).toFixed(2),
      },
      'bare reader of the same': {
        'of a core': share(bareMs),
        'of the bare reader': '1.00',
        'a report, ms CPU': bareMs.toFixed(3),
        'wake-ups': each(({ bares }) => bares.wakeUps).toFixed(2),
      },
      'scheduler at rest': {
        'of a core': `${((100 * rest.cpuMs) / rest.wallMs).toFixed(1)} %`,
        'wake-ups a second': ((1000 * rest.wakeUps) / rest.wallMs).toFixed(0),
      },
    })
    console.table([
      {
        'reports noted': late[0]?.seen,
        'memory, MiB': worker.mib('VmRSS').toFixed(0),
        'at most': worker.mib('VmHWM').toFixed(0),
        'aim, MiB': '<= 200',
      },
    ])
  } finally {
    await client.close()
    await worker.end()
    await bare.end()
    await fleet.close()
    await broker.close()
  }
}

function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  )
}
