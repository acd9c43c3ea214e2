import { z } from 'zod'
import { AuditReport } from '../objects/audit.ts'
import { HostName, HostReport, HostSummary } from '../objects/host-report.ts'
import { RequestSpec, Selection } from '../objects/request-spec.ts'
import { call, cast, defineApi } from '../rpc/contract.ts'

/**
 * The scheduler's door.
 *
 * Version history:
 * - 1.0 select_destinations, release_allocations, report_host, list_hosts
 * - 1.1 audit; select_destinations answers with mem_encryption: of several models the one that has the slot
 */
export const SchedulerApi = defineApi({
  service: 'scheduler',
  version: '1.1',
  methods: {
    selectDestinations: call({
      wire: 'select_destinations',
      since: '1.0',
      summary:
        'Finds a host for one try of an instance and claims its resources there. The same try asked again gets the same answer; a later try replaces the claim in one step. Of several models that will do the first is chosen that any host has. Errors: NO_VALID_HOST, STALE_ATTEMPT.',
      input: z.strictObject({ request_spec: RequestSpec }),
      output: z.object({ selection: Selection }),
      timeoutMs: 60_000,
      monitorTimeoutMs: 4000,
    }),
    releaseAllocations: cast({
      wire: 'release_allocations',
      since: '1.0',
      summary: 'Gives back what an instance claimed, and voids tries up to the given one. Releasing twice is nothing.',
      input: z.strictObject({ instance_uuid: z.guid(), attempt: z.int().min(1) }),
      output: z.null(),
    }),
    reportHost: cast({
      wire: 'report_host',
      since: '1.0',
      isTransient: true,
      summary:
        'A compute worker tells that it lives and what its host offers. Only the latest counts: one that cannot be handled is dropped.',
      input: z.strictObject({ report: HostReport }),
      output: z.null(),
    }),
    audit: call({
      wire: 'audit',
      since: '1.1',
      summary:
        'Compares claims, instances, the guests of hosts and the keys that their kernels count, and tells what does not agree; with `repair` it mends what is safe, by the contracts of those who own it. Looks twice, `settle_seconds` apart.',
      input: z.strictObject({
        hosts: z.array(HostName).min(1).max(1000).optional(),
        repair: z.boolean().default(false),
        settle_seconds: z.number().min(0).max(60).default(3),
      }),
      output: z.object({ report: AuditReport }),
      timeoutMs: 600_000,
      monitorTimeoutMs: 4000,
    }),
    listHosts: call({
      wire: 'list_hosts',
      since: '1.0',
      summary: 'Every host that has reported, with the use of its resources and encryption slots.',
      input: z.strictObject({ hosts: z.array(HostName).max(1000).optional() }),
      output: z.object({ hosts: z.array(HostSummary) }),
      timeoutMs: 10_000,
    }),
  },
})
