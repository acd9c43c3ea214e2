import { hostname } from 'node:os'
import { openMonitor } from '../compose/monitor/open.ts'
import { openTransport } from '../compose/open-transport.ts'
import { onTermination, serveUntil } from '../compose/process.ts'
import { closeInOrder, type Worker } from '../compose/worker.ts'
import { workerName } from '../config.ts'
import { createLogger } from '../logger.ts'
import { EXIT } from './exit-codes.ts'
import { note } from './output.ts'
import { type GlobalOptions, loadCliConfig } from './session.ts'

export interface WorkOptions extends GlobalOptions {
  /** The worker's name on the bus; the machine's by default. */
  readonly host?: string
}

/** Runs one worker in this process until SIGTERM. Waits for broker and database, and says so. */
export async function work(service: 'conductor' | 'scheduler' | 'compute', options: WorkOptions): Promise<number> {
  const config = loadCliConfig(options, options.host)
  const logger = createLogger(service, options.debug ? 'debug' : config.worker.log_level)
  const stop = onTermination(note)
  // Two workers of one service on one machine need names of their own: the process number makes them.
  const fallback = service === 'compute' ? config.compute.host : `${hostname()}-${process.pid}`
  const host = workerName(options.host ?? fallback)
  const who = `sevbus ${service} ${host}`
  const transport = openTransport(config, logger, who)
  const graceMs = config.worker.shutdown_grace_seconds * 1000
  // A compute worker has nothing to do with databases, and loads nothing of them. A wrong URL is known at once.
  const databases = service === 'compute' ? undefined : await import('../compose/open-database.ts')
  databases?.databaseUrl(config)
  const opened: (() => Promise<void>)[] = []
  try {
    const monitor = await openMonitor(config, { service, host, transport, logger })
    opened.push(async () => monitor?.close())
    const serve = (worker: Worker) => {
      worker.broken.catch((error: Error) => monitor?.broke(error))
      return serveUntil(stop, worker, graceMs, logger)
    }
    await transport.connect(stop)
    if (databases === undefined) {
      const { startCompute } = await import('../compose/compute-worker.ts')
      await serve(await startCompute(config, { host, transport, logger, monitor }))
      return EXIT.OK
    }
    const database = await databases.waitForDatabase(config, who, logger, stop)
    opened.unshift(() => database.close())
    const start =
      service === 'conductor'
        ? (await import('../compose/conductor-worker.ts')).startConductor
        : (await import('../compose/scheduler-worker.ts')).startScheduler
    await serve(await start(config, { host, transport, logger, monitor, database }))
    return EXIT.OK
  } catch (error) {
    // Told to stop while it still waited: that is an orderly end.
    if (stop.aborted) return EXIT.OK
    throw error
  } finally {
    await closeInOrder([() => transport.close(), ...opened])
  }
}
