import type { Endpoint } from '../rpc/contract.ts'
import type { Auditor } from './audit/auditor.ts'
import type { buildOutcomesEndpoint } from './build-outcomes.ts'
import type { SchedulerManager } from './manager.ts'
import type { movesEndpoint } from './moves.ts'
import type { operatingEndpoint } from './operating/endpoint.ts'
import type { SchedulerApi } from './rpc-api.ts'

/** All that a scheduler is asked, by the part that answers it. */
export function schedulerEndpoint(
  manager: SchedulerManager,
  auditor: Pick<Auditor, 'audit'>,
  operating: ReturnType<typeof operatingEndpoint>,
  buildOutcomes: ReturnType<typeof buildOutcomesEndpoint>,
  moves: ReturnType<typeof movesEndpoint>,
): Endpoint<typeof SchedulerApi> {
  return {
    selectDestinations: (args, info) => manager.selectDestinations(args, info),
    selectDestinationsOfBatch: (args, info) => manager.selectDestinationsOfBatch(args, info),
    selectDestinationsOfMany: (args, info) => manager.selectDestinationsOfMany(args, info),
    releaseAllocations: (args, info) => manager.releaseAllocations(args, info),
    reportHost: (args, info) => manager.reportHost(args, info),
    announceHost: (args, info) => manager.announceHost(args, info),
    reportHostUnchanged: (args, info) => manager.reportHostUnchanged(args, info),
    leaveHost: (args, info) => manager.leaveHost(args, info),
    listHosts: (args) => manager.listHosts(args),
    audit: async (request, info) => ({ report: await auditor.audit(request, info) }),
    ...operating,
    ...buildOutcomes,
    ...moves,
  }
}
