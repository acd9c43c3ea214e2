import type { Logger } from 'pino'
import type { Database } from '../../database/database.ts'
import type { HostSummary } from '../../objects/host-report.ts'
import type { Endpoint } from '../../rpc/contract.ts'
import { hostSummary } from '../host-summary.ts'
import type { Placement } from '../placement/placement.ts'
import type { SchedulerApi } from '../rpc-api.ts'
import { addHost, createAggregate, deleteAggregate, listAggregates, removeHost, setAggregate } from './aggregates.ts'
import { hostNotFound, setHost } from './host-settings.ts'
import { createServerGroup, deleteServerGroup, listServerGroups } from './server-groups.ts'

export interface OperatingPorts {
  readonly database: Database
  readonly placement: Pick<Placement, 'hostStates' | 'workersOf'>
  /** Lets this scheduler see what has changed before it answers; the others look within their interval. */
  readonly refresh: () => Promise<void>
  readonly logger: Logger
}

type OperatingMethod =
  | 'setHost'
  | 'createAggregate'
  | 'listAggregates'
  | 'setAggregate'
  | 'addHostToAggregate'
  | 'removeHostFromAggregate'
  | 'deleteAggregate'
  | 'createServerGroup'
  | 'listServerGroups'
  | 'deleteServerGroup'

/** What operators decide about hosts. It is in the tables, so every scheduler goes by it within its next look. */
export function operatingEndpoint({
  database,
  placement,
  refresh,
  logger,
}: OperatingPorts): Pick<Endpoint<typeof SchedulerApi>, OperatingMethod> {
  return {
    async setHost({ host, ...settings }, { context: { request_id } }) {
      const freed = await setHost(database, host, settings)
      logger.info({ host, ...settings, request_id }, 'an operator has set the host')
      if (freed > 0)
        logger.info({ host, claims: freed, request_id }, 'fenced: claims of evacuated instances given back')
      await refresh()
      return { host: await summaryOf(placement, host) }
    },
    async createAggregate({ name, metadata, hosts }) {
      const aggregate = await createAggregate(database, { name, metadata, hosts })
      await refresh()
      return { aggregate }
    },
    async listAggregates({ names }) {
      return { aggregates: [...(await listAggregates(database, names))] }
    },
    async setAggregate({ name, metadata }) {
      const aggregate = await setAggregate(database, name, metadata)
      await refresh()
      return { aggregate }
    },
    async addHostToAggregate({ name, host }) {
      const aggregate = await addHost(database, name, host)
      await refresh()
      return { aggregate }
    },
    async removeHostFromAggregate({ name, host }) {
      const aggregate = await removeHost(database, name, host)
      await refresh()
      return { aggregate }
    },
    async deleteAggregate({ name }) {
      await deleteAggregate(database, name)
      return {}
    },
    async createServerGroup({ name, policy, rules }) {
      return { server_group: await createServerGroup(database, { name, policy, rules }) }
    },
    async listServerGroups(query) {
      return { server_groups: [...(await listServerGroups(database, query))] }
    },
    async deleteServerGroup({ uuid }) {
      await deleteServerGroup(database, uuid)
      return {}
    },
  }
}

async function summaryOf(placement: OperatingPorts['placement'], host: string): Promise<HostSummary> {
  const [state] = await placement.hostStates([host])
  if (state === undefined) throw hostNotFound(host)
  return hostSummary(state, (await placement.workersOf([host])).get(host))
}
