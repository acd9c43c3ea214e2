import { type SimulatedHost, startLocalCloud } from '../../compose/local-cloud.ts'
import { busNames, notificationNames } from '../../compose/names.ts'
import { ConductorApi } from '../../conductor/rpc-api.ts'
import { loadConfig } from '../../config.ts'
import { openPglite } from '../../database/pglite.ts'
import { createLogger } from '../../logger.ts'
import { NotificationConsumer } from '../../notifications/consumer.ts'
import type { Notification } from '../../notifications/notification.ts'
import { RpcClient } from '../../rpc/client.ts'
import type { ClientOf } from '../../rpc/contract.ts'
import { MemoryBus } from '../../rpc/drivers/memory.ts'
import { SchedulerApi } from '../../scheduler/rpc-api.ts'
import { openDemoFolder } from './demo-folder.ts'

export interface DemoCloud {
  readonly conductor: ClientOf<typeof ConductorApi>
  readonly scheduler: ClientOf<typeof SchedulerApi>
  close(): Promise<void>
}

/** The whole cloud inside this process: in-process bus, database in memory, simulated hosts in a temporary folder. */
export async function openDemoCloud(
  hosts: readonly SimulatedHost[],
  logLevel: string,
  onNotification: (notification: Notification) => Promise<void>,
): Promise<DemoCloud> {
  // No file and no environment: the demo is the same everywhere.
  const config = loadConfig({ env: {} })
  const logger = createLogger('demo', logLevel)
  const { folder, remove } = await openDemoFolder()
  const bus = new MemoryBus()
  const database = await openPglite()
  const cloud = await startLocalCloud({ config, database, connect: async () => bus.connect(), hosts, folder, logger })

  const transport = bus.connect()
  const client = new RpcClient({ transport, logger, names: busNames(config) })
  const billing = new NotificationConsumer({ transport, logger, names: notificationNames(config), onNotification })
  await billing.start()
  return {
    conductor: client.of(ConductorApi),
    scheduler: client.of(SchedulerApi),
    async close() {
      await cloud.drain(10_000)
      await billing.close()
      await client.close()
      await transport.close()
      await database.close()
      remove()
    },
  }
}
