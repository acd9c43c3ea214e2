import type { Endpoint } from '../rpc/contract.ts'
import { acceptInstances } from './accept.ts'
import { listActions } from './actions/action-store.ts'
import { actionsEndpoint } from './actions/endpoint.ts'
import { recordDeparted } from './arrival.ts'
import { listAttempts } from './attempt-store.ts'
import { recordBuildReport, recordBuildReports } from './build-report.ts'
import { consolesEndpoint } from './consoles.ts'
import { continueBuild } from './continue-build.ts'
import { deleteInstance, recordTerminated } from './delete-instance.ts'
import { listDepartures } from './departures.ts'
import { evacuateInstance } from './evacuate-instance.ts'
import { listInstanceStates } from './instance-states.ts'
import { findInstance, listInstances } from './instance-store.ts'
import { listMoves } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'
import { acceptRebuild } from './rebuild/accept-rebuild.ts'
import { listLastEvents, replayEvents } from './replay-events.ts'
import { resizeEndpoint } from './resize/endpoint.ts'
import type { ConductorApi } from './rpc-api.ts'
import { isOnItsHost } from './stages.ts'
import { storedContext } from './stored-context.ts'

/**
 * The hall of the conductor: looks after instances, from the request to the last report. Every effect is a change of
 * rows and the messages that follow from it, in one transaction.
 */
export function conductorEndpoint(ports: ConductorPorts): Endpoint<typeof ConductorApi> {
  return {
    async buildInstances(request, { context }) {
      return { instances: await acceptInstances(ports, storedContext(context), request) }
    },
    async deleteInstance({ instance_uuid }, { context }) {
      return { instance: await deleteInstance(ports, storedContext(context), instance_uuid) }
    },
    async evacuateInstance(evacuation, { context, signal }) {
      return { instance: await evacuateInstance(ports, storedContext(context), evacuation, signal) }
    },
    async getInstance({ instance_uuid }) {
      return { instance: (await findInstance(ports.database, instance_uuid)).instance }
    },
    async listInstances(query) {
      return { instances: [...(await listInstances(ports.database, query))] }
    },
    async listInstanceStates(query) {
      return { instances: [...(await listInstanceStates(ports.database, query))] }
    },
    async explainInstance({ instance_uuid }) {
      const { instance } = await findInstance(ports.database, instance_uuid)
      return {
        instance,
        attempts: [...(await listAttempts(ports.database, instance_uuid))],
        migrations: [...(await listMoves(ports.database, instance_uuid))],
        actions: [...(await listActions(ports.database, instance_uuid))],
      }
    },
    async continueBuild(step, { signal }) {
      await continueBuild(ports, step, signal)
      return null
    },
    async reportBuild(report) {
      await recordBuildReport(ports, report)
      return null
    },
    async reportBuilds({ reports }) {
      await recordBuildReports(ports, reports)
      return null
    },
    async reportTerminated(report, { context }) {
      const { migration_uuid } = report
      if (migration_uuid === undefined) await recordTerminated(ports, storedContext(context), report)
      else await recordDeparted(ports, { ...report, migration_uuid })
      return null
    },
    async listDepartures(query) {
      return { departures: [...(await listDepartures(ports, query))] }
    },
    async checkBuild({ instance_uuid, attempt, host }) {
      const { instance } = await findInstance(ports.database, instance_uuid)
      const here = instance.attempt === attempt && instance.host === host
      return { wanted: here && isOnItsHost(instance) }
    },
    async replayEvents(replay) {
      return replayEvents(ports, replay)
    },
    async listLastEvents({ instance_uuids }) {
      return { last_events: await listLastEvents(ports, instance_uuids) }
    },
    ...actionsEndpoint(ports),
    ...consolesEndpoint(ports),
    ...resizeEndpoint(ports),
    async rebuildInstance(rebuild, { context }) {
      return { instance: await acceptRebuild(ports, storedContext(context), rebuild) }
    },
  }
}
