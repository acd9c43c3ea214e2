import { join } from 'node:path'
import { DEFAULT_SHUTDOWN } from '../compute/actions/guest-patience.ts'
import { confirmedEndpoint } from '../compute/confirmed-endpoint.ts'
import { HostReporter } from '../compute/host-reporter.ts'
import { HostStanding } from '../compute/host-standing.ts'
import { HostView } from '../compute/host-view.ts'
import { Journal } from '../compute/journal/journal.ts'
import { LastLook } from '../compute/last-look.ts'
import { ComputeManager } from '../compute/manager.ts'
import { ProvenGuests } from '../compute/proven-guests.ts'
import { GuestWatch } from '../compute/reality/guest-watch.ts'
import { type HostBoot, openHostBoot } from '../compute/reality/host-boot.ts'
import { DEFAULT_RESOURCE_OPTIONS } from '../compute/resource-tracker.ts'
import { ComputeApi } from '../compute/rpc-api.ts'
import { exceptionTeller, tellingEndpoint } from '../compute/told-exceptions.ts'
import { ToldLosses } from '../compute/told-losses.ts'
import type { VirtDriver } from '../compute/virt-driver.ts'
import { openWorkerIdentity, type WorkerIdentity } from '../compute/worker-identity.ts'
import type { Config } from '../config.ts'
import { RpcClient } from '../rpc/client.ts'
import { bind } from '../rpc/dispatcher.ts'
import { topicOf } from '../rpc/names.ts'
import { Relay } from '../rpc/relay.ts'
import { SelfCheck } from '../rpc/self-check.ts'
import { RpcServer } from '../rpc/server.ts'
import { openDriver } from './compute-host.ts'
import { domainOptions, slotLimits } from './host-options.ts'
import { allowedSenders, busNames, declareNotifications, notificationNames } from './names.ts'
import { ownAddress } from './own-address.ts'
import {
  closeInOrder,
  firstBroken,
  LAST_MESSAGES_MS,
  once,
  startOrClose,
  type Worker,
  type WorkerPorts,
} from './worker.ts'

/** Time for the broker to say who consumes our queue, in milliseconds. */
const LOOK_MS = 2000

/** The journal announces what it stores; looking for more is for messages that could not be sent, in milliseconds. */
const JOURNAL_POLL_MS = 250

interface ComputePorts extends WorkerPorts {
  /** A hypervisor of one's own, which the worker closes; without it the one that the configuration names. */
  readonly driver?: VirtDriver
  /** How long a guest must do something else than its instance until that is told; without it the usual. */
  readonly guestSettleMs?: number
  /** From when on a hypervisor that does not answer is told; without it the usual. */
  readonly silentAfterMs?: number
}

/** Puts a compute worker together and starts it: what an earlier one had begun is taken up first. */
export async function startCompute(config: Config, ports: ComputePorts): Promise<Worker> {
  const { host, transport, logger, monitor } = ports
  const { compute } = config
  const limits = slotLimits(compute)
  const names = busNames(config)
  let onBroken = (_error: unknown) => {}
  const journalBroken = new Promise<never>((_, reject) => {
    onBroken = reject
  })
  journalBroken.catch((err: unknown) => logger.fatal({ err }, 'the journal takes no more; this worker stops'))
  const journal = await Journal.open({ folder: join(compute.state_folder, 'journal'), host, onBroken })
  const relay = new Relay({ store: journal, transport, logger, pollIntervalMs: JOURNAL_POLL_MS })
  const telling = { host, journal, outbox: relay, logger }
  const losses = new ToldLosses({ ...telling, ip: ownAddress() }, notificationNames(config))
  let driver: VirtDriver
  let identity: WorkerIdentity
  let hostBoot: HostBoot
  try {
    // The journal has locked the folder.
    identity = await openWorkerIdentity(compute.state_folder)
    hostBoot = await openHostBoot(compute.state_folder)
    if (!compute.resume_guests_state_on_host_boot) await hostBoot.noted()
    driver = ports.driver ?? (await openDriver(config, logger, losses))
  } catch (error) {
    await journal.close()
    throw error
  }
  const client = new RpcClient({
    transport,
    logger,
    names,
    timeoutMs: config.transport.rpc_timeout_seconds * 1000,
    allowedSenders: config.transport.allowed_senders,
    observer: monitor?.observer,
  })
  const tellException = exceptionTeller(telling, notificationNames(config))
  const proven = new ProvenGuests()
  const manager = new ComputeManager({
    host,
    driver,
    journal,
    outbox: relay,
    client,
    logger,
    maxConcurrentBuilds: compute.max_concurrent_builds,
    domainOptions: domainOptions(compute),
    slotLimits: limits,
    shutdown: { ...DEFAULT_SHUTDOWN, timeoutMs: compute.shutdown_timeout_seconds * 1000 },
    tellException,
    proven,
  })
  const view = new HostView({ driver, limits, logger })
  const { concurrency } = config.transport
  const bindings = [
    bind(
      ComputeApi,
      confirmedEndpoint(tellingEndpoint(manager, tellException), () => reporter.confirm()),
    ),
  ] as const
  const server = new RpcServer({
    transport,
    logger,
    names,
    server: host,
    bindings: [...bindings],
    concurrency,
    allowedSenders: allowedSenders(config, 'compute'),
    observer: monitor?.observer,
  })
  const queue = `${topicOf(names, ComputeApi)}.${host}`
  const facts = { host, transport: transport.description, driver: driver.description }
  const standing = new HostStanding({
    host,
    server,
    isAlone: async () => ((await transport.inspect(queue, AbortSignal.timeout(LOOK_MS)))?.consumers ?? 0) === 0,
    onServing: () => {
      logger.info(facts, 'compute worker is ready')
      void manager.removeDeparted().then(() => manager.removeStrays())
    },
    logger,
  })
  const reporter: HostReporter = new HostReporter({
    host,
    identity,
    standing,
    driver,
    view,
    client,
    logger,
    resources: { ...DEFAULT_RESOURCE_OPTIONS, ...pickResources(compute) },
    ioOps: () => journal.builds().length,
    traits: compute.traits,
    lastLook: new LastLook(compute.state_folder),
    reportIntervalSeconds: compute.report_interval_seconds,
    silentAfterMs: ports.silentAfterMs,
  })
  const guestWatch = new GuestWatch({
    host,
    driver,
    journal,
    client,
    logger,
    isBusy: (uuid) => manager.isBusy(uuid),
    proven,
    prove: (guest, signal) => manager.proveGuest(guest, signal),
    isServing: () => standing.isServing,
    intervalMs: compute.sync_power_state_interval_seconds * 1000,
    settleMs: ports.guestSettleMs,
    resume: hostBoot.isNew && compute.resume_guests_state_on_host_boot ? { done: hostBoot.noted } : undefined,
  })
  const intervalMs = config.worker.self_check_seconds * 1000
  const selfCheck = new SelfCheck({ transport, client, server, logger, intervalMs })
  const drain = once(async (graceMs: number) => {
    await closeInOrder([
      () => selfCheck.close(),
      () => guestWatch.close(),
      () => reporter.close(),
      () => server.drain(graceMs),
      () => manager.drain(graceMs),
      () => relay.close(LAST_MESSAGES_MS),
      () => reporter.leave(),
      () => client.close(),
      () => transport.close(),
      () => driver.close(),
      () => journal.close(),
    ])
  })
  await startOrClose(drain, async () => {
    await declareNotifications(config, transport)
    relay.start()
    manager.recover()
    monitor?.watch({ servers: [server], selfCheck, store: journal, checks: [reporter] })
    await Promise.race([reporter.start(), standing.broken])
    selfCheck.start()
    guestWatch.start()
  })
  const broken = firstBroken(journalBroken, selfCheck.broken, standing.broken)
  return { name: `compute ${host}`, broken, drain }
}

function pickResources({
  reserved_host_memory_mb,
  cpu_allocation_ratio,
  ram_allocation_ratio,
  disk_allocation_ratio,
}: Config['compute']) {
  return { reserved_host_memory_mb, cpu_allocation_ratio, ram_allocation_ratio, disk_allocation_ratio }
}
