import type { Logger } from 'pino'
import type { Config } from '../../config.ts'
import { deadLetterQueue } from '../../rpc/names.ts'
import type { Transport } from '../../rpc/transport.ts'
import { busNames } from '../names.ts'
import type { Monitor } from './monitor.ts'

/** What is watched is known before it is there. */
export interface MonitoredProcess {
  readonly service: string
  readonly host: string
  readonly transport: Transport
  readonly logger: Logger
}

/** As the configuration says; a worker without one loads nothing of it. @throws InvalidConfiguration */
export async function openMonitor(config: Config, watched: MonitoredProcess): Promise<Monitor | undefined> {
  const { monitor_host: host, monitor_port: port } = config.worker
  if (port === undefined) return undefined
  const { Monitor } = await import('./monitor.ts')
  return await Monitor.open({ ...watched, deadLetterQueue: deadLetterQueue(busNames(config)), at: { host, port } })
}
