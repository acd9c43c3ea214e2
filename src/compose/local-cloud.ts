import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import type { Database } from '../database/database.ts'
import { migrate } from '../database/migrate.ts'
import type { Transport } from '../rpc/transport.ts'
import { startCompute } from './compute-worker.ts'
import { startConductor } from './conductor-worker.ts'
import { allMigrations } from './migrations.ts'
import type { Monitor } from './monitor/monitor.ts'
import { openMonitor } from './monitor/open.ts'
import { startScheduler } from './scheduler-worker.ts'
import { closeInOrder, firstBroken, once, startOrClose, type Worker, type WorkerPorts } from './worker.ts'

/** The name on the bus of the workers there is one of. */
const LOCAL = 'local'

export interface SimulatedHost {
  readonly host: string
  /** Over the defaults of the configuration's section [fake]. */
  readonly fake: Partial<Config['fake']>
}

export interface LocalCloudOptions {
  readonly config: Config
  readonly database: Database
  /** A connection of its own for each worker, as if it were a process of its own. */
  readonly connect: (who: string) => Promise<Transport>
  readonly hosts: readonly SimulatedHost[]
  /** Journals and guests, a folder per host. */
  readonly folder: string
  readonly logger: Logger
  /** The broker has nothing of an earlier time, though the folder may. */
  readonly isBrokerNew?: boolean
}

export interface LocalCloud extends Worker {
  /** Where each worker tells how it is, if the configuration says so. */
  readonly monitors: readonly { readonly worker: string; readonly url: string }[]
}

/** All workers in one process: a conductor, a scheduler, and a compute worker per simulated host. */
export async function startLocalCloud(options: LocalCloudOptions): Promise<LocalCloud> {
  const { config, database, connect, hosts, folder, logger, isBrokerNew = false } = options
  await migrate(database, allMigrations)
  const started: Worker[] = []
  const monitors: { readonly worker: string; readonly monitor: Monitor }[] = []
  const start = async (service: string, host: string, begin: (ports: WorkerPorts) => Promise<Worker>) => {
    const worker = host === LOCAL ? service : host
    const transport = await connect(worker)
    const ports = { host, transport, logger: logger.child({ worker }) }
    try {
      const monitor = await openMonitor(withOwnPort(config, monitors.length), { service, ...ports })
      if (monitor !== undefined) monitors.push({ worker, monitor })
      const begun = await begin({ ...ports, monitor })
      begun.broken.catch((error: Error) => monitor?.broke(error))
      started.push(begun)
    } catch (error) {
      await transport.close()
      throw error
    }
  }
  const drain = once(async (graceMs: number) => {
    // Hosts first: what they report in the end must still find a conductor.
    const [scheduler, conductor, ...computes] = started
    await Promise.allSettled(computes.map((worker) => worker.drain(graceMs)))
    await closeInOrder([
      ...[conductor, scheduler].flatMap((worker) => (worker ? [() => worker.drain(graceMs)] : [])),
      ...monitors.map(
        ({ monitor }) =>
          () =>
            monitor.close(),
      ),
    ])
  })
  await startOrClose(drain, async () => {
    await start('scheduler', LOCAL, (ports) => startScheduler(config, { ...ports, database }))
    await start('conductor', LOCAL, (ports) => startConductor(config, { ...ports, database, isBrokerNew }))
    for (const { host, fake } of hosts) {
      const compute = { ...config.compute, host, state_folder: join(folder, host) }
      const own = { ...config, compute, fake: { ...config.fake, ...fake } }
      await start('compute', host, (ports) => startCompute(own, ports))
    }
  })
  return {
    name: 'local cloud',
    broken: firstBroken(...started.map(({ broken }) => broken)),
    drain,
    monitors: monitors.map(({ worker, monitor }) => ({ worker, url: monitor.url })),
  }
}

/** One port for each worker, from the one that is configured upwards; 0 is any for each. */
function withOwnPort(config: Config, index: number): Config {
  const { monitor_port: port } = config.worker
  return port ? { ...config, worker: { ...config.worker, monitor_port: port + index } } : config
}
