import { z } from 'zod'
import {
  Aggregate,
  AggregateMetadataChanges,
  AggregateName,
  NewAggregateMetadata,
  NewAggregateName,
} from '../objects/aggregate.ts'
import { AuditReport } from '../objects/audit.ts'
import {
  HostName,
  HostReport,
  HostSummary,
  ReportingWorker,
  TakenReport,
  UnchangedHost,
} from '../objects/host-report.ts'
import { Migration, RequestSpec, Selection } from '../objects/request-spec.ts'
import { ServerGroup, ServerGroupName, ServerGroupPolicy, ServerGroupRules } from '../objects/server-group.ts'
import { text } from '../objects/text.ts'
import { ContextOfOne, call, cast, defineApi } from '../rpc/contract.ts'

/** Said rather than dropped: who asks would believe that the sources are held. */
const NO_MIGRATION = z
  .never({ error: 'instances move one by one: leave it out, or ask with select_destinations' })
  .optional()

/**
 * The scheduler's door.
 *
 * Version history:
 * - 1.0 select_destinations, release_allocations, report_host, list_hosts
 * - 1.1 audit; select_destinations answers with mem_encryption: of several models the one that has the slot
 *   from operators: set_host, create_aggregate, list_aggregates, set_aggregate, add_host_to_aggregate,
 *   remove_host_from_aggregate, delete_aggregate, create_server_group, list_server_groups, delete_server_group;
 *   from conductors: note_build, select_destinations_of_batch, confirm_move, finish_move, revert_move; request_spec takes a
 *   migration, which an older scheduler does not see
 *   from compute workers: announce_host, leave_host, and `worker` in the report of a host, which an older scheduler does
 *   not take: schedulers are upgraded first
 * - 1.2 the report of a host whose hypervisor does not answer has hypervisor_silence, and list_hosts tells it
 * - 1.3 announce_host answers with report_digest, and only who was given one sends report_host_unchanged: schedulers are
 *   upgraded first; list_hosts tells the worker whose reports are taken
 * - 1.4 select_destinations for rebuilds: a migration of that type, which an older scheduler refuses
 * - 1.5 request_spec takes keeps_encryption, which an older scheduler does not see
 * - 1.6 audit repairs with confirm_move, too, which older clients do not know
 * - 1.7 the type of a migration may be live-migration, which an older scheduler refuses
 * - 1.8 announce_host answers with unchanged_server, where report_host_unchanged is to be sent; who does not know it
 *   sends it to any scheduler, as before
 * - 1.9 audit finds stray_disks and repairs with remove_stray_disks, which older clients do not know
 * - 1.10 select_destinations_of_many, which conductors ask one by one of a scheduler that does not know it; note_builds, which
 *   an older scheduler does not take: schedulers are upgraded first
 */
export const SchedulerApi = defineApi({
  service: 'scheduler',
  version: '1.10',
  methods: {
    selectDestinations: call({
      wire: 'select_destinations',
      since: '1.0',
      summary:
        'Finds a host for one try of an instance and claims its resources there. The same try asked again gets the same answer; a later try replaces the claim in one step. Of several models that will do the first is chosen that any host has. With a migration of the type rebuild it is about the host in `force_hosts`, where the instance is: that is judged as if the instance were not there, and until confirm_move, or revert_move, the claim has the more of before and after. Errors: NO_VALID_HOST, STALE_ATTEMPT.',
      input: z.strictObject({ request_spec: RequestSpec }),
      output: z.object({ selection: Selection }),
      timeoutMs: 60_000,
      monitorTimeoutMs: 4000,
    }),
    selectDestinationsOfBatch: call({
      wire: 'select_destinations_of_batch',
      since: '1.1',
      summary:
        'Finds hosts for many instances that ask for the same, all of them or none, and claims there in one step. Asked again it gets the same answer. Instances whose try is void, because they were deleted, are not waited for, and not answered. Errors: NO_VALID_HOST.',
      input: z.strictObject({
        /** Of any of them. */
        request_spec: RequestSpec.extend({ migration: NO_MIGRATION }),
        instance_uuids: z.array(z.guid()).min(1).max(100),
      }),
      output: z.object({ selections: z.array(z.object({ instance_uuid: z.guid(), selection: Selection })) }),
      timeoutMs: 60_000,
      monitorTimeoutMs: 4000,
    }),
    selectDestinationsOfMany: call({
      wire: 'select_destinations_of_many',
      since: '1.10',
      summary:
        'As select_destinations, for many that are asked for at a time and have nothing to do with each other. Each is answered by itself, in the order of the requests: by its selection, or by its failure as a reply of oslo.messaging has it. The answer comes when the last of them is found.',
      input: z.strictObject({
        requests: z
          .array(z.strictObject({ context: ContextOfOne, request_spec: RequestSpec }))
          .min(1)
          .max(100),
      }),
      output: z.object({
        answers: z.array(z.union([z.object({ selection: Selection }), z.object({ failure: z.string() })])),
      }),
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
    confirmMove: cast({
      wire: 'confirm_move',
      since: '1.1',
      summary:
        'The instance stays where its migration has brought it: what the migration holds on the source is given back. Of a migration that is over it is nothing.',
      input: z.strictObject({ instance_uuid: z.guid(), migration: Migration }),
      output: z.null(),
    }),
    finishMove: cast({
      wire: 'finish_move',
      since: '1.1',
      summary:
        'The instance runs where its evacuation has brought it; the guest that it left may be there still. What the migration holds on the source is given back once that host is fenced, or by confirm_move; not with the instance.',
      input: z.strictObject({ instance_uuid: z.guid(), migration: Migration }),
      output: z.null(),
    }),
    revertMove: cast({
      wire: 'revert_move',
      since: '1.1',
      summary:
        'The instance is where its migration began: the destination is given back, and the source is its own again, with the number of its try there. A claim of the migration that comes later is void; of a migration that is over it is nothing.',
      input: z.strictObject({ instance_uuid: z.guid(), migration: Migration }),
      output: z.null(),
    }),
    noteBuild: cast({
      wire: 'note_build',
      since: '1.1',
      summary:
        'A conductor tells how a try ended on its host. A host where too many failed in a row is disabled; a success enables it again, unless an operator had disabled it. Told twice, it is counted once.',
      input: z.strictObject({
        instance_uuid: z.guid(),
        attempt: z.int().min(1),
        host: HostName,
        /** Null: the guest runs. */
        failure: z.string().max(1000).nullable(),
      }),
      output: z.null(),
    }),
    noteBuilds: cast({
      wire: 'note_builds',
      since: '1.10',
      summary: 'As note_build, of many guests that run. Told twice, they are counted once.',
      input: z.strictObject({
        builds: z
          .array(z.strictObject({ instance_uuid: z.guid(), attempt: z.int().min(1), host: HostName }))
          .min(1)
          .max(100),
      }),
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
    announceHost: call({
      wire: 'announce_host',
      since: '1.1',
      summary:
        'As report_host, for a worker that waits to hear whether it was taken: at its start, when the host has changed, and now and then. Errors: INVALID_INVENTORY, DUPLICATE_HOST when another worker of this host name lives, STALE_REPORT.',
      input: z.strictObject({ report: HostReport }),
      output: TakenReport,
      timeoutMs: 5000,
    }),
    reportHostUnchanged: cast({
      wire: 'report_host_unchanged',
      since: '1.3',
      isTransient: true,
      summary:
        'A sign of life of a host that has what it told last, by the digest that announce_host answered with, sent to the server that it named: all schedulers take from that queue, many at a time. One report of ten tells everything, so what the database has lost or has otherwise is mended by that.',
      input: UnchangedHost,
      output: z.null(),
    }),
    leaveHost: cast({
      wire: 'leave_host',
      since: '1.1',
      isTransient: true,
      summary:
        'A compute worker stops: another one of this host name is taken at once, and need not wait until the host counts as down.',
      input: z.strictObject({ host: HostName, ...ReportingWorker.pick({ worker_id: true, sequence: true }).shape }),
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
      isRead: true,
      summary:
        'Hosts that have reported, by name, with the use of their resources and encryption slots. A page may be shorter than its limit; give its last name as `marker` until a page is empty.',
      input: z.strictObject({
        hosts: z.array(HostName).max(1000).optional(),
        marker: HostName.optional(),
        limit: z.int().min(1).max(1000).default(500),
      }),
      output: z.object({ hosts: z.array(HostSummary) }),
      timeoutMs: 10_000,
    }),
    setHost: call({
      wire: 'set_host',
      since: '1.1',
      summary:
        'Takes a host out of service or gives it back; what is left out stays as it is. Disabled, it takes no new instances. Forced down, it counts as down at once, whatever it reports. Fenced says that it is powered off: it is forced down with that, and what evacuations still hold there is given back. Enabling forgets the builds that failed there. Errors: COMPUTE_HOST_NOT_FOUND.',
      input: z
        .strictObject({
          host: HostName,
          disabled: z.boolean().optional(),
          /** Only with disabled: true. */
          disabled_reason: text(255).min(1).optional(),
          /** False: it is not fenced any more either. */
          forced_down: z.boolean().optional(),
          fenced: z.boolean().optional(),
        })
        .refine(({ fenced, forced_down }) => !(fenced === true && forced_down === false), {
          path: ['fenced'],
          message: 'a fenced host is down',
        })
        .refine(({ disabled, disabled_reason: reason }) => reason === undefined || disabled === true, {
          path: ['disabled_reason'],
          message: 'belongs to disabled: true',
        }),
      output: z.object({ host: HostSummary }),
      timeoutMs: 10_000,
    }),
    createAggregate: call({
      wire: 'create_aggregate',
      since: '1.1',
      summary:
        'Makes a set of hosts with metadata, which filters read. Errors: AGGREGATE_NAME_EXISTS, COMPUTE_HOST_NOT_FOUND, INVALID_AGGREGATE_ACTION.',
      input: z.strictObject({
        name: NewAggregateName,
        metadata: NewAggregateMetadata.default({}),
        hosts: z.array(HostName).max(1000).default([]),
      }),
      output: z.object({ aggregate: Aggregate }),
      timeoutMs: 10_000,
    }),
    listAggregates: call({
      wire: 'list_aggregates',
      since: '1.1',
      isRead: true,
      summary: 'Aggregates by name, with their hosts.',
      input: z.strictObject({ names: z.array(AggregateName).max(1000).optional() }),
      output: z.object({ aggregates: z.array(Aggregate) }),
      timeoutMs: 10_000,
    }),
    setAggregate: call({
      wire: 'set_aggregate',
      since: '1.1',
      summary:
        'Changes the metadata of an aggregate: keys that are named get the value, or go where it is null. Errors: AGGREGATE_NOT_FOUND, INVALID_AGGREGATE_ACTION.',
      input: z.strictObject({ name: AggregateName, metadata: AggregateMetadataChanges }),
      output: z.object({ aggregate: Aggregate }),
      timeoutMs: 10_000,
    }),
    addHostToAggregate: call({
      wire: 'add_host_to_aggregate',
      since: '1.1',
      summary:
        'Puts a host into an aggregate; doing it twice is nothing. Errors: AGGREGATE_NOT_FOUND, COMPUTE_HOST_NOT_FOUND, INVALID_AGGREGATE_ACTION when it would be in two zones.',
      input: z.strictObject({ name: AggregateName, host: HostName }),
      output: z.object({ aggregate: Aggregate }),
      timeoutMs: 10_000,
    }),
    removeHostFromAggregate: call({
      wire: 'remove_host_from_aggregate',
      since: '1.1',
      summary: 'Takes a host out of an aggregate; doing it twice is nothing. Errors: AGGREGATE_NOT_FOUND.',
      input: z.strictObject({ name: AggregateName, host: HostName }),
      output: z.object({ aggregate: Aggregate }),
      timeoutMs: 10_000,
    }),
    deleteAggregate: call({
      wire: 'delete_aggregate',
      since: '1.1',
      summary: 'Removes an aggregate without hosts. Errors: AGGREGATE_NOT_FOUND, INVALID_AGGREGATE_ACTION.',
      input: z.strictObject({ name: AggregateName }),
      output: z.object({}),
      timeoutMs: 10_000,
    }),
    createServerGroup: call({
      wire: 'create_server_group',
      since: '1.1',
      summary:
        'Makes a group of instances that are to run together or apart. Instances become members by the hint `group` of their request. Names need not differ.',
      input: z
        .strictObject({ name: ServerGroupName, policy: ServerGroupPolicy, rules: ServerGroupRules.default({}) })
        .refine(({ policy, rules }) => policy === 'anti-affinity' || rules.max_server_per_host === undefined, {
          path: ['rules', 'max_server_per_host'],
          message: 'belongs to the policy anti-affinity',
        }),
      output: z.object({ server_group: ServerGroup }),
      timeoutMs: 10_000,
    }),
    listServerGroups: call({
      wire: 'list_server_groups',
      since: '1.1',
      isRead: true,
      summary: 'Server groups, by name, with those of their members that are on a host.',
      input: z.strictObject({
        uuids: z.array(z.guid()).max(1000).optional(),
        name: ServerGroupName.optional(),
      }),
      output: z.object({ server_groups: z.array(ServerGroup) }),
      timeoutMs: 10_000,
    }),
    deleteServerGroup: call({
      wire: 'delete_server_group',
      since: '1.1',
      summary:
        'Removes a group. Its members stay where they are, and are held to nothing any more. Errors: INSTANCE_GROUP_NOT_FOUND.',
      input: z.strictObject({ uuid: z.guid() }),
      output: z.object({}),
      timeoutMs: 10_000,
    }),
  },
})
