import type { Logger } from 'pino'
import type { Database } from '../../database/database.ts'
import type { HostSummary } from '../../objects/host-report.ts'
import type { Endpoint, RequestInfo } from '../../rpc/contract.ts'
import { hostSummary } from '../host-summary.ts'
import type { Placement } from '../placement/placement.ts'
import type { SchedulerApi } from '../rpc-api.ts'
import { type Telling, type Told, toldOf } from '../telling.ts'
import { addHost, createAggregate, deleteAggregate, listAggregates, removeHost, setAggregate } from './aggregates.ts'
import { hostNotFound, setHost } from './host-settings.ts'
import { createServerGroup, deleteServerGroup, listServerGroups } from './server-groups.ts'

export interface OperatingPorts {
  readonly database: Database
  readonly placement: Pick<Placement, 'hostStates' | 'workersOf'>
  /** Lets this scheduler see what has changed before it answers; the others look within their interval. */
  readonly refresh: () => Promise<void>
  readonly logger: Logger
  /** Undefined: nobody is told of it. */
  readonly telling?: Telling | undefined
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
  telling,
}: OperatingPorts): Pick<Endpoint<typeof SchedulerApi>, OperatingMethod> {
  const told = ({ context }: RequestInfo): Told => toldOf(telling, context)
  const changed = async () => {
    telling?.announce()
    await refresh()
  }
  return {
    async setHost({ host, ...settings }, info) {
      const { request_id } = info.context
      const freed = await setHost(database, host, settings, told(info))
      logger.info({ host, ...settings, request_id }, 'an operator has set the host')
      if (freed > 0)
        logger.info({ host, claims: freed, request_id }, 'fenced: claims of evacuated instances given back')
      await changed()
      return { host: await summaryOf(placement, host) }
    },
    async createAggregate({ name, metadata, hosts }, info) {
      const aggregate = await createAggregate(database, { name, metadata, hosts }, told(info))
      await changed()
      return { aggregate }
    },
    async listAggregates({ names }) {
      return { aggregates: [...(await listAggregates(database, names))] }
    },
    async setAggregate({ name, metadata }, info) {
      const aggregate = await setAggregate(database, name, metadata, told(info))
      await changed()
      return { aggregate }
    },
    async addHostToAggregate({ name, host }, info) {
      const aggregate = await addHost(database, name, host, told(info))
      await changed()
      return { aggregate }
    },
    async removeHostFromAggregate({ name, host }, info) {
      const aggregate = await removeHost(database, name, host, told(info))
      await changed()
      return { aggregate }
    },
    async deleteAggregate({ name }, info) {
      await deleteAggregate(database, name, told(info))
      telling?.announce()
      return {}
    },
    async createServerGroup({ name, policy, rules }, info) {
      const server_group = await createServerGroup(database, { name, policy, rules }, told(info))
      telling?.announce()
      return { server_group }
    },
    async listServerGroups(query) {
      return { server_groups: [...(await listServerGroups(database, query))] }
    },
    async deleteServerGroup({ uuid }, info) {
      await deleteServerGroup(database, uuid, told(info))
      telling?.announce()
      return {}
    },
  }
}

async function summaryOf(placement: OperatingPorts['placement'], host: string): Promise<HostSummary> {
  const [state] = await placement.hostStates([host])
  if (state === undefined) throw hostNotFound(host)
  return hostSummary(state, (await placement.workersOf([host])).get(host))
}
