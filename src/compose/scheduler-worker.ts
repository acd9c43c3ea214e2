import { randomUUID } from 'node:crypto'
import type { Config } from '../config.ts'
import type { Database } from '../database/database.ts'
import { DatabaseOutbox } from '../database/outbox.ts'
import { OperatingEvents } from '../notifications/operating-events.ts'
import { SelectionEvents } from '../notifications/selection-events.ts'
import { RpcClient } from '../rpc/client.ts'
import { bind } from '../rpc/dispatcher.ts'
import { Relay } from '../rpc/relay.ts'
import { SelfCheck } from '../rpc/self-check.ts'
import { RpcServer } from '../rpc/server.ts'
import { AuditLog } from '../scheduler/audit/audit-log.ts'
import { Auditor } from '../scheduler/audit/auditor.ts'
import { BackgroundAudit } from '../scheduler/audit/background-audit.ts'
import { buildOutcomesEndpoint } from '../scheduler/build-outcomes.ts'
import { schedulerEndpoint } from '../scheduler/endpoint.ts'
import { defaultFilters } from '../scheduler/filters/default-filters.ts'
import { SIGNS_OF_LIFE } from '../scheduler/hosts/signs-of-life.ts'
import { loadFilters, loadWeighers } from '../scheduler/load-extension.ts'
import { SchedulerManager } from '../scheduler/manager.ts'
import { movesEndpoint } from '../scheduler/moves.ts'
import { operatingEndpoint } from '../scheduler/operating/endpoint.ts'
import { DatabasePlacement } from '../scheduler/placement/placement.ts'
import { SchedulerApi } from '../scheduler/rpc-api.ts'
import { OUTBOX_OWNER, type Telling } from '../scheduler/telling.ts'
import { defaultWeighers } from '../scheduler/weighers/default-weighers.ts'
import { databaseCheck } from './monitor/database-check.ts'
import { allowedSenders, busNames, declareNotifications, notificationNames } from './names.ts'
import { closeInOrder, LAST_MESSAGES_MS, once, startOrClose, type Worker, type WorkerPorts } from './worker.ts'

/** How often stored notifications are looked for that another scheduler left behind, in milliseconds. */
const OUTBOX_POLL_MS = 1000

/** Puts a scheduler together and starts it. The database stays the caller's. */
export async function startScheduler(
  config: Config,
  { host, transport, logger, monitor, database }: WorkerPorts & { readonly database: Database },
): Promise<Worker> {
  const { scheduler } = config
  // Paths in the configuration are the operator's: relative to where the worker was started.
  const folder = process.cwd()
  const multipliers = {
    ram: scheduler.ram_weight_multiplier,
    cpu: scheduler.cpu_weight_multiplier,
    disk: scheduler.disk_weight_multiplier,
    ioOps: scheduler.io_ops_weight_multiplier,
    buildFailure: scheduler.build_failure_weight_multiplier,
    softAffinity: scheduler.soft_affinity_weight_multiplier,
    softAntiAffinity: scheduler.soft_anti_affinity_weight_multiplier,
    memEncryptionContext: scheduler.mem_encryption_context_weight_multiplier,
  }
  const limits = {
    maxIoOpsPerHost: scheduler.max_io_ops_per_host,
    maxInstancesPerHost: scheduler.max_instances_per_host,
  }
  const store = new DatabaseOutbox(database, { owner: OUTBOX_OWNER })
  const relay = new Relay({ store, transport, logger, pollIntervalMs: OUTBOX_POLL_MS })
  const telling: Telling = {
    events: new OperatingEvents(notificationNames(config), host),
    selections: config.notifications.select_destinations
      ? new SelectionEvents(notificationNames(config), host)
      : undefined,
    storing: store.storing,
    enqueue: (tx, messages, options) => store.enqueue(tx, messages, options),
    tell: async (messages) => {
      await store.enqueue(database, messages)
      relay.announce()
    },
    offer: (messages) => relay.offer(messages),
    announce: () => relay.announce(),
  }
  const placement = new DatabasePlacement(database, { downAfterIntervals: scheduler.down_after_intervals, telling })
  const onFailure = (extension: string, failure: string) =>
    logger.warn({ extension, failure }, 'a filter or weigher of your own failed: mend its module, or take it out')
  const manager = new SchedulerManager({
    placement,
    filters: defaultFilters(limits),
    weighers: defaultWeighers(multipliers),
    extraFilters: await loadFilters(scheduler.extra_filters, folder, onFailure),
    extraWeighers: await loadWeighers(scheduler.extra_weighers, folder, onFailure),
    options: {
      memEncryptionOverheadMb: scheduler.mem_encryption_overhead_mb,
      hostSubsetSize: scheduler.host_subset_size,
      seed: scheduler.seed,
      refreshIntervalMs: scheduler.refresh_interval_seconds * 1000,
      downAfterIntervals: scheduler.down_after_intervals,
    },
    logger,
    telling,
  })
  const { concurrency } = config.transport
  const names = busNames(config)
  const client = new RpcClient({
    transport,
    logger,
    names,
    allowedSenders: config.transport.allowed_senders,
    observer: monitor?.observer,
  })
  const auditLog = new AuditLog(database, `${host} ${randomUUID()}`)
  const auditor = new Auditor({ database, client, log: auditLog, logger })
  const intervalSeconds = scheduler.audit_interval_seconds
  const backgroundAudit = new BackgroundAudit({ auditor, log: auditLog, intervalSeconds, logger })
  const operating = operatingEndpoint({ database, placement, refresh: () => manager.hosts.refresh(), logger, telling })
  const disableAfter = scheduler.consecutive_build_service_disable_threshold
  const buildOutcomes = buildOutcomesEndpoint({ database, disableAfter, logger, telling })
  const bindings = [
    bind(
      SchedulerApi,
      schedulerEndpoint(manager, auditor, operating, buildOutcomes, movesEndpoint({ database, logger })),
    ),
  ] as const
  const server = new RpcServer({
    transport,
    logger,
    names,
    server: host,
    bindings: [...bindings],
    concurrency,
    allowedSenders: allowedSenders(config, 'scheduler'),
    observer: monitor?.observer,
  })
  const signsOfLife = new RpcServer({
    transport,
    logger,
    names,
    server: SIGNS_OF_LIFE.server,
    bindings: [...bindings],
    concurrency: SIGNS_OF_LIFE.atATime,
    gatherMs: SIGNS_OF_LIFE.gatherMs,
    allowedSenders: allowedSenders(config, 'scheduler'),
    observer: monitor?.observer,
  })
  const intervalMs = config.worker.self_check_seconds * 1000
  const selfCheck = new SelfCheck({ transport, client, server, logger, intervalMs })
  const drain = once(async (graceMs: number) => {
    await closeInOrder([
      () => selfCheck.close(),
      () => backgroundAudit.close(),
      // At a time: each may take as long as the process is given.
      async () => void (await Promise.all([signsOfLife.drain(graceMs), server.drain(graceMs)])),
      () => manager.close(),
      () => relay.close(LAST_MESSAGES_MS),
      () => client.close(),
      () => transport.close(),
    ])
  })
  await startOrClose(drain, async () => {
    await declareNotifications(config, transport)
    relay.start()
    await manager.start()
    await server.start()
    await signsOfLife.start()
    selfCheck.start()
    backgroundAudit.start()
    monitor?.watch({
      servers: [server, signsOfLife],
      selfCheck,
      audit: auditLog,
      scheduling: manager,
      store,
      checks: [databaseCheck(database)],
    })
  })
  logger.info({ host, transport: transport.description, database: database.description }, 'scheduler is ready')
  return { name: `scheduler ${host}`, broken: selfCheck.broken, drain }
}
