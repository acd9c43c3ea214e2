import type { Endpoint } from '../../rpc/contract.ts'
import { acceptLiveMigration } from '../live-migration/accept-live-migration.ts'
import { abortLiveMigration, forceCompleteLiveMigration } from '../live-migration/orders.ts'
import type { moveMethods } from '../move-methods.ts'
import type { ConductorPorts } from '../ports.ts'
import type { ConductorApi } from '../rpc-api.ts'
import { storedContext } from '../stored-context.ts'
import { acceptResize } from './accept-resize.ts'
import { confirmResize, revertResize } from './decide.ts'

type Moves = Pick<Endpoint<typeof ConductorApi>, keyof typeof moveMethods>

/** Answers what is asked of resizes and migrations. */
export function resizeEndpoint(ports: ConductorPorts): Omit<Moves, 'rebuildInstance'> {
  return {
    async resizeInstance(resize, { context, signal }) {
      return { instance: await acceptResize(ports, storedContext(context), resize, signal) }
    },
    async migrateInstance(migration, { context, signal }) {
      return { instance: await acceptResize(ports, storedContext(context), migration, signal) }
    },
    async liveMigrateInstance(migration, { context, signal }) {
      return { instance: await acceptLiveMigration(ports, storedContext(context), migration, signal) }
    },
    async liveMigrationAbort({ instance_uuid }, { context }) {
      return { instance: await abortLiveMigration(ports, storedContext(context), instance_uuid) }
    },
    async liveMigrationForceComplete({ instance_uuid }, { context }) {
      return { instance: await forceCompleteLiveMigration(ports, storedContext(context), instance_uuid) }
    },
    async confirmResize({ instance_uuid }, { context }) {
      return { instance: await confirmResize(ports, storedContext(context), instance_uuid) }
    },
    async revertResize({ instance_uuid }) {
      return { instance: await revertResize(ports, instance_uuid) }
    },
  }
}
