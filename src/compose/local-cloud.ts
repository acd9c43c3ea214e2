import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import type { Database } from '../database/database.ts'
import { migrate } from '../database/migrate.ts'
import type { Transport } from '../rpc/transport.ts'
import { startCompute } from './compute-worker.ts'
import { startConductor } from './conductor-worker.ts'
import { allMigrations } from './migrations.ts'
import { startScheduler } from './scheduler-worker.ts'
import { closeInOrder, firstBroken, once, startOrClose, type Worker } from './worker.ts'

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

/** All workers in one process: a conductor, a scheduler, and a compute worker per simulated host. */
export async function startLocalCloud(options: LocalCloudOptions): Promise<Worker> {
  const { config, database, connect, hosts, folder, logger, isBrokerNew = false } = options
  await migrate(database, allMigrations)
  const local = (service: string) => ({ host: 'local', logger: logger.child({ worker: service }) })
  const started: Worker[] = []
  const start = async (who: string, begin: (transport: Transport) => Promise<Worker>) => {
    const transport = await connect(who)
    started.push(await begin(transport).catch((error: unknown) => transport.close().then(() => Promise.reject(error))))
  }
  const drain = once(async (graceMs: number) => {
    // Hosts first: what they report in the end must still find a conductor.
    const [scheduler, conductor, ...computes] = started
    await Promise.allSettled(computes.map((worker) => worker.drain(graceMs)))
    await closeInOrder([conductor, scheduler].flatMap((worker) => (worker ? [() => worker.drain(graceMs)] : [])))
  })
  await startOrClose(drain, async () => {
    await start('scheduler', (transport) => startScheduler(config, { ...local('scheduler'), transport, database }))
    await start('conductor', (transport) =>
      startConductor(config, { ...local('conductor'), transport, database, isBrokerNew }),
    )
    for (const { host, fake } of hosts) {
      const compute = { ...config.compute, host, state_folder: join(folder, host) }
      const own = { ...config, compute, fake: { ...config.fake, ...fake } }
      await start(host, (transport) => startCompute(own, { host, transport, logger: logger.child({ worker: host }) }))
    }
  })
  return { name: 'local cloud', broken: firstBroken(...started.map(({ broken }) => broken)), drain }
}
