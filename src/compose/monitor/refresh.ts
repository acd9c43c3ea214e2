import { Counter, Gauge, type Registry } from 'prom-client'
import { FindingKind } from '../../objects/audit.ts'
import { OldestAge } from './oldest-age.ts'
import type { WatchedProcess } from './watched.ts'

/** What broker and store have not told by then is left out of a scrape, in milliseconds. */
const READ_TIMEOUT_MS = 2_000

/** Readings that are taken when they are asked for. */
export interface Refreshed {
  /** Never throws: what cannot be read now has no value. */
  refresh(watched: WatchedProcess): Promise<void>
}

export function refreshed(registry: Registry): Refreshed {
  const registers = [registry]
  const gauge = <const L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name, help, labelNames, registers })
  /** Counted elsewhere, and read here. */
  const total = <const L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name, help, labelNames, registers })
  const ready = gauge(
    'sevbus_worker_serving',
    '1 while requests are taken: from start to drain, and not by a second worker of a host.',
  )
  const connected = gauge('sevbus_broker_connected', '1 while there is a connection to the broker.')
  const blocked = gauge('sevbus_broker_blocked', '1 while the broker takes no messages, being short of memory or disk.')
  const reconnects = total('sevbus_broker_reconnects_total', 'Connections made after one was lost.')
  const published = total(
    'sevbus_broker_publishes_total',
    'Messages offered to the broker, by what became of them: confirmed, returned (no queue), refused (nack, or no such exchange or permission), lost or not sent (no connection).',
    'outcome',
  )
  const messages = gauge('sevbus_queue_messages', 'Messages that wait in a queue, not those being worked on.', 'queue')
  const consumers = gauge('sevbus_queue_consumers', 'Consumers of a queue.', 'queue')
  const age = gauge(
    'sevbus_queue_oldest_message_age_seconds',
    'At most so long has the oldest message waited in a queue; 0 when none waits.',
    'queue',
  )
  const stored = gauge('sevbus_outbox_messages', 'Messages stored and not yet confirmed by the broker.')
  const storedAge = gauge(
    'sevbus_outbox_oldest_message_age_seconds',
    'How long the oldest stored message has waited; 0 when none waits.',
  )
  const checks = total('sevbus_self_checks_total', 'Self-checks: calls of the worker to itself.')
  const repairs = total('sevbus_self_check_repairs_total', 'Times the worker heard nothing and connected anew.')
  const findings = gauge(
    'sevbus_audit_findings',
    'Findings of the last whole audit that are not repaired, by kind.',
    'kind',
  )
  const unjudged = gauge('sevbus_audit_not_judged', 'Hosts, and conductors, that did not answer the last whole audit.')
  const auditAge = gauge('sevbus_audit_age_seconds', 'How long ago the last whole audit ended, whoever made it.')
  const hostsAge = gauge(
    'sevbus_scheduler_hosts_age_seconds',
    'How old is what the scheduler knows of hosts: since the last reading began.',
  )
  const lostClaims = total('sevbus_scheduler_lost_claims_total', 'Claims that were lost to faster ones.')
  const reportsRefused = total(
    'sevbus_scheduler_reports_refused_total',
    'Reports of hosts that were not taken, by code: DUPLICATE_HOST, INVALID_INVENTORY, STALE_REPORT.',
    'code',
  )
  const oldest = new OldestAge()

  async function readQueues({ transport, deadLetterQueue, worker }: WatchedProcess, signal: AbortSignal) {
    if (transport.state !== 'connected') return
    const servers = worker?.servers ?? []
    const own = servers.flatMap((server) => server.queues.map((queue) => ({ queue, server })))
    await Promise.all(
      [...own, { queue: deadLetterQueue, server: undefined }].map(async ({ queue, server }) => {
        const askedAtMs = Date.now()
        const state = await transport.inspect(queue, signal)
        if (state === undefined) return
        messages.set({ queue }, state.messages)
        consumers.set({ queue }, state.consumers)
        if (server === undefined) return
        const sentAtMs = server.lastTakenSentAtMs(queue)
        const seconds = oldest.seconds(queue, state.messages, sentAtMs, askedAtMs)
        if (seconds !== undefined) age.set({ queue }, seconds)
      }),
    )
  }

  async function readStore({ worker }: WatchedProcess) {
    const backlog = await worker?.store?.backlog()
    if (backlog === undefined) return
    stored.set(backlog.messages)
    storedAge.set(backlog.oldestAgeSeconds ?? 0)
  }

  async function readAudit({ worker }: WatchedProcess) {
    const last = await worker?.audit?.last()
    if (last === undefined) return
    for (const kind of FindingKind.options) findings.set({ kind }, last.remaining[kind] ?? 0)
    unjudged.set(last.notJudged)
    auditAge.set(last.ageSeconds)
  }

  function readScheduling({ worker }: WatchedProcess) {
    for (const reading of [hostsAge, lostClaims]) reading.remove()
    reportsRefused.reset()
    if (worker?.scheduling === undefined) return
    const { hosts, lostClaims: lost, reports } = worker.scheduling
    if (hosts.ageSeconds !== undefined) hostsAge.set(hosts.ageSeconds)
    lostClaims.inc(lost)
    for (const [code, count] of reports.refused) reportsRefused.inc({ code }, count)
  }

  /** What the process itself knows. */
  function readOwn({ transport, worker }: WatchedProcess) {
    for (const counted of [reconnects, published, checks, repairs]) counted.reset()
    ready.set(worker?.servers.every(({ isServing }) => isServing) ? 1 : 0)
    connected.set(transport.state === 'connected' ? 1 : 0)
    blocked.set(transport.blocked === undefined ? 0 : 1)
    reconnects.inc(transport.counts.reconnects)
    for (const [outcome, count] of Object.entries(transport.counts.published)) published.inc({ outcome }, count)
    checks.inc(worker?.selfCheck.counts.checks ?? 0)
    repairs.inc(worker?.selfCheck.counts.repairs ?? 0)
  }

  return {
    async refresh(watched) {
      readOwn(watched)
      readScheduling(watched)
      for (const reading of [messages, consumers, age, findings]) reading.reset()
      // What has no labels is reset to 0: an outbox that cannot be read is not an empty one.
      for (const reading of [stored, storedAge, unjudged, auditAge]) reading.remove()
      const signal = AbortSignal.timeout(READ_TIMEOUT_MS)
      const late = new Promise((resolve) => signal.addEventListener('abort', resolve))
      const readings = [readQueues(watched, signal), readStore(watched), readAudit(watched)]
      await Promise.race([late, Promise.allSettled(readings)])
    },
  }
}
