import { ComputeApi } from '../compute/rpc-api.ts'
import { askingTogether } from '../conductor/ask-together.ts'
import { endFencedDeletions } from '../conductor/fenced-deletions.ts'
import { conductorEndpoint } from '../conductor/manager.ts'
import { OUTBOX_OWNER } from '../conductor/messages.ts'
import type { ConductorPorts, Outbox } from '../conductor/ports.ts'
import { resendUnfinished } from '../conductor/resend.ts'
import { BUILD_REPORTS, ConductorApi } from '../conductor/rpc-api.ts'
import { Steps } from '../conductor/steps.ts'
import { auditUsage } from '../conductor/usage-audit.ts'
import { reviveOverdue } from '../conductor/watchdog.ts'
import type { Config } from '../config.ts'
import type { Database } from '../database/database.ts'
import { DatabaseOutbox } from '../database/outbox.ts'
import { InstanceEvents } from '../notifications/instance-events.ts'
import { RpcClient } from '../rpc/client.ts'
import { bind } from '../rpc/dispatcher.ts'
import { Relay } from '../rpc/relay.ts'
import { SelfCheck } from '../rpc/self-check.ts'
import { RpcServer } from '../rpc/server.ts'
import { SchedulerApi } from '../scheduler/rpc-api.ts'
import { databaseCheck } from './monitor/database-check.ts'
import { allowedSenders, busNames, declareNotifications, notificationNames } from './names.ts'
import { closeInOrder, LAST_MESSAGES_MS, once, startOrClose, type Worker, type WorkerPorts } from './worker.ts'

/** How often stored messages are looked for that another conductor left behind, in milliseconds. */
const OUTBOX_POLL_MS = 1000
/** How often overdue builds are looked for, as a part of the build timeout. */
const WATCHDOG_PARTS = 10
/** How often it is looked whether an audit period has ended, in milliseconds. */
const USAGE_AUDIT_MS = 20_000
/** How often notifications that are kept long enough are forgotten, in milliseconds. */
const FORGET_MS = 60_000

export interface ConductorWorkerPorts extends WorkerPorts {
  readonly database: Database
  /** The broker has nothing of an earlier time: what instances wait for is said again. */
  readonly isBrokerNew?: boolean
}

/** How often deletions are looked at that wait for a host, in milliseconds. */
const FENCES_MS = 5000

/** Puts a conductor together and starts it. The database stays the caller's. */
export async function startConductor(
  config: Config,
  { host, transport, logger, monitor, database, isBrokerNew = false }: ConductorWorkerPorts,
): Promise<Worker> {
  const { instance_usage_audit_period: period } = config.notifications
  const names = busNames(config)
  const client = new RpcClient({
    transport,
    logger,
    names,
    timeoutMs: config.transport.rpc_timeout_seconds * 1000,
    allowedSenders: config.transport.allowed_senders,
    observer: monitor?.observer,
  })
  const store = new DatabaseOutbox(database, { owner: OUTBOX_OWNER })
  const relay = new Relay({
    store,
    transport,
    logger,
    pollIntervalMs: OUTBOX_POLL_MS,
    // Whoever accepts a build goes on with it.
    doAtHand: (message) => server.doAtHand(message),
  })
  const outbox: Outbox = {
    storing: store.storing,
    enqueue: (tx, messages, options) => store.enqueue(tx, messages, options),
    kept: (key, span, limit) => store.kept(key, span, limit),
    sendAgain: (key, span) => store.sendAgain(key, span),
    lastNumber: (key) => store.lastNumber(key),
    lastOf: (keys) => store.lastOf(keys),
    announce: () => relay.announce(),
    offer: (messages) => relay.offer(messages),
  }
  const scheduler = client.of(SchedulerApi)
  const conductorPorts: ConductorPorts = {
    database,
    outbox,
    steps: new Steps(database, outbox, { client }),
    client,
    scheduler,
    askForHost: askingTogether(scheduler),
    compute: client.of(ComputeApi),
    events: new InstanceEvents(notificationNames(config), `nova-conductor:${host}`, {
      notifyOnStateChange: config.notifications.notify_on_state_change,
      // Nova's default, for whoever wants no `instance.exists`.
      auditPeriod: period === 'never' ? 'month' : period,
    }),
    logger,
    maxAttempts: config.conductor.max_attempts,
    allowResizeToSameHost: config.conductor.allow_resize_to_same_host,
    buildTimeoutMs: config.conductor.build_timeout_seconds * 1000,
    now: () => new Date(),
  }
  const bindings = [bind(ConductorApi, conductorEndpoint(conductorPorts))] as const
  const { concurrency } = config.transport
  const server = new RpcServer({
    transport,
    logger,
    names,
    server: host,
    bindings: [...bindings],
    concurrency,
    allowedSenders: allowedSenders(config, 'conductor'),
    observer: monitor?.observer,
  })
  const reports = new RpcServer({
    transport,
    logger,
    names,
    server: BUILD_REPORTS,
    isOnlyByName: true,
    bindings: [...bindings],
    concurrency,
    allowedSenders: allowedSenders(config, 'conductor'),
    observer: monitor?.observer,
  })
  const watchdog = setInterval(() => {
    reviveOverdue(conductorPorts).catch((err: unknown) => logger.warn({ err }, 'overdue builds cannot be read now'))
  }, conductorPorts.buildTimeoutMs / WATCHDOG_PARTS)
  const fences = setInterval(() => {
    endFencedDeletions(conductorPorts).catch((err: unknown) =>
      logger.warn({ err }, 'whether hosts are fenced that deletions wait for is not known now'),
    )
  }, FENCES_MS)
  const audit =
    period === 'never'
      ? undefined
      : setInterval(() => {
          auditUsage(conductorPorts, period).catch((err: unknown) =>
            logger.warn({ err }, 'the usage of instances cannot be told now'),
          )
        }, USAGE_AUDIT_MS)
  const keptMs = config.notifications.keep_hours * 3_600_000
  const forgetting = setInterval(() => {
    store.forgetSent(keptMs).catch((err: unknown) => logger.warn({ err }, 'old notifications cannot be forgotten now'))
  }, FORGET_MS)
  const intervalMs = config.worker.self_check_seconds * 1000
  const selfCheck = new SelfCheck({ transport, client, server, logger, intervalMs })
  const drain = once(async (graceMs: number) => {
    clearInterval(watchdog)
    clearInterval(fences)
    clearInterval(audit)
    clearInterval(forgetting)
    await closeInOrder([
      () => selfCheck.close(),
      // At a time: each may take as long as the process is given.
      async () => void (await Promise.all([reports.drain(graceMs), server.drain(graceMs)])),
      () => relay.close(LAST_MESSAGES_MS),
      () => client.close(),
      () => transport.close(),
    ])
  })
  await startOrClose(drain, async () => {
    await declareNotifications(config, transport)
    relay.start()
    // Before anything is ordered whose end goes there.
    await reports.start()
    await server.start()
    selfCheck.start()
    monitor?.watch({ servers: [server, reports], selfCheck, store, checks: [databaseCheck(database)] })
    if (isBrokerNew) await resendUnfinished(conductorPorts)
  })
  logger.info({ host, transport: transport.description, database: database.description }, 'conductor is ready')
  return { name: `conductor ${host}`, broken: selfCheck.broken, drain }
}
