import { z } from 'zod'
import { AvailabilityZone } from '../objects/availability-zone.ts'
import { MAX_SEQUENCE } from '../objects/event-sequence.ts'
import { Fault } from '../objects/fault.ts'
import { NewFlavor } from '../objects/flavor.ts'
import { HostName } from '../objects/host-report.ts'
import { NewImageMeta } from '../objects/image-meta.ts'
import { BuildAttempt, Instance, InstanceState, VmState } from '../objects/instance.ts'
import { ActionRecord } from '../objects/instance-action.ts'
import { InstanceMigration } from '../objects/instance-migration.ts'
import { NewIpAddress } from '../objects/ip-address.ts'
import { NewSchedulerHints } from '../objects/scheduler-hints.ts'
import { text } from '../objects/text.ts'
import { UserData } from '../objects/user-data.ts'
import { call, cast, defineApi } from '../rpc/contract.ts'
import { actionMethods } from './action-methods.ts'
import { consoleMethods } from './console-methods.ts'
import { moveMethods } from './move-methods.ts'

/** What a compute worker reports about one try: the outcome is a fact, written on the host before it is told. */
const BuildReport = z.object({
  instance_uuid: z.guid(),
  attempt: z.int().min(1),
  host: HostName,
  outcome: z.discriminatedUnion('result', [
    z.object({ result: z.literal('active'), launched_at: z.iso.datetime() }),
    z.object({
      result: z.literal('failed'),
      fault: Fault,
      /** Could another host succeed? */
      retryable: z.boolean(),
      /** Of a rebuild: the earlier guest was not touched. */
      unchanged: z.literal(true).optional(),
    }),
  ]),
})
export type BuildReport = z.infer<typeof BuildReport>

/**
 * A server by whose name all conductors that know `report_builds` take it. An older one beside them would take it from the queue of
 * all, and could only park it.
 */
export const BUILD_REPORTS = '_build-reports'

/** As it is asked for: several instances of one request have a number behind it. */
export const InstanceName = text(240).min(1)

/** Instances of one request at most. */
export const MAX_COUNT = 1000

/**
 * The conductor's door: what an API tier calls, and what workers report.
 *
 * Version history:
 * - 1.0 build_instances, delete_instance, get_instance, list_instances, explain_instance;
 *   from workers: continue_build, report_build, report_terminated, check_build
 * - 1.1 list_instance_states, evacuate_instance; build_instances takes availability_zone, scheduler_hints, min_count,
 *   config_drive and user_data, which an older conductor refuses; explain_instance tells migrations;
 *   from workers: list_departures; report_terminated takes migration_uuid, which an older conductor refuses
 * - 1.2 start_instance, stop_instance, reboot_instance, pause_instance, unpause_instance, suspend_instance,
 *   resume_instance; explain_instance tells actions; from workers: report_action
 * - 1.3 list_instance_states tells last_action; from workers: report_guest_states
 * - 1.4 attach_volume, detach_volume, attach_interface, detach_interface; explain_instance tells results of actions
 * - 1.5 from workers: check_action
 * - 1.6 replay_events
 * - 1.7 get_console_output, get_vnc_console, get_spice_console, get_serial_console
 * - 1.8 create_snapshot; from workers: report_action_stage
 * - 1.9 rescue_instance, unrescue_instance
 * - 1.10 resize_instance, migrate_instance, confirm_resize, revert_resize; report_action tells the disks of a guest that leaves
 * - 1.11 rebuild_instance
 * - 1.12 shelve_instance, unshelve_instance; report_action_stage tells those of shelving
 * - 1.13 live_migrate_instance
 * - 1.14 report_build tells of a rebuild that was refused before anything was touched (`unchanged`), which an older conductor does not hear
 * - 1.15 live_migration_abort, live_migration_force_complete
 * - 1.16 unshelve_instance takes availability_zone and host, which an older conductor refuses; shelve_instance takes suspended ones
 * - 1.17 from workers: report_builds
 * - 1.18 list_last_events
 */
export const ConductorApi = defineApi({
  service: 'conductor',
  version: '1.18',
  methods: {
    buildInstances: call({
      wire: 'build_instances',
      since: '1.0',
      summary:
        'Accepts instances of one flavor and image. When it answers they are stored, and will be ACTIVE or ERROR with a reason, whatever dies. With `instance_uuids` given, asking again is safe. Errors: INVALID_ARGUMENTS, FLAVOR_MEMORY_TOO_SMALL, FLAVOR_DISK_TOO_SMALL, FLAVOR_IMAGE_CONFLICT, INVALID_MACHINE_TYPE, STATELESS_FIRMWARE_REQUIRED, INVALID_PROPERTY, SECURE_BOOT_NOT_SUPPORTED, MEMORY_PAGE_SIZE_INVALID, MEMORY_PAGE_SIZE_FORBIDDEN, FLAVOR_IMAGE_LOCKED_MEMORY_CONFLICT, LOCK_MEMORY_FORBIDDEN, INSTANCE_EXISTS.',
      input: z.strictObject({
        name: InstanceName,
        flavor: NewFlavor,
        image: NewImageMeta,
        count: z.int().min(1).max(MAX_COUNT).default(1),
        /** Absent or 1: each instance finds a host by itself, or none. As much as `count`, up to 100: all of them or none. */
        min_count: z.int().min(1).max(MAX_COUNT).optional(),
        /** Chosen by the caller, as many as `count`: then a repeated call makes nothing twice. */
        instance_uuids: z.array(z.guid()).min(1).max(MAX_COUNT).optional(),
        ip_addresses: z.array(NewIpAddress).max(64).default([]),
        /** Absent: only with user_data, or where image or host want one. */
        config_drive: z.boolean().optional(),
        /** For cloud-init at first boot, base64; on the config drive. No answer, notification or log has it. */
        user_data: UserData.optional(),
        /** Only hosts of this zone; absent: any. */
        availability_zone: AvailabilityZone.optional(),
        scheduler_hints: NewSchedulerHints.optional(),
      }),
      output: z.object({ instances: z.array(Instance) }),
    }),
    deleteInstance: call({
      wire: 'delete_instance',
      since: '1.0',
      summary: 'Starts to delete an instance in any state; asking twice is nothing. Errors: INSTANCE_NOT_FOUND.',
      input: z.strictObject({ instance_uuid: z.guid() }),
      output: z.object({ instance: Instance }),
    }),
    evacuateInstance: call({
      wire: 'evacuate_instance',
      since: '1.1',
      summary:
        'Rebuilds an active instance on another host, because its own is down or forced down: from its image, with the same encryption or a better one of those it names. When it answers that is stored: it will run there, or be where it was, with the reason. What it has on the dead host stays claimed until that is fenced (set_host), or back and rid of the guest. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE, COMPUTE_SERVICE_IN_USE when the host is up, COMPUTE_HOST_NOT_FOUND, INVALID_ARGUMENTS; FLAVOR_IMAGE_CONFLICT and others of build_instances when flavor and image would be refused today.',
      input: z.strictObject({
        instance_uuid: z.guid(),
        /** Only to this one; absent: wherever a scheduler finds. */
        host: HostName.optional(),
      }),
      output: z.object({ instance: Instance }),
    }),
    getInstance: call({
      wire: 'get_instance',
      since: '1.0',
      isRead: true,
      summary: 'One instance, deleted ones too. Errors: INSTANCE_NOT_FOUND.',
      input: z.strictObject({ instance_uuid: z.guid() }),
      output: z.object({ instance: Instance }),
    }),
    listInstances: call({
      wire: 'list_instances',
      since: '1.0',
      isRead: true,
      summary:
        'Instances, oldest first; deleted ones only when asked for. A page may be shorter than its limit; give its last uuid as `marker` until a page is empty.',
      input: z.strictObject({
        name: z.string().max(255).optional(),
        host: HostName.optional(),
        vm_state: VmState.optional(),
        marker: z.guid().optional(),
        limit: z.int().min(1).max(1000).default(500),
      }),
      output: z.object({ instances: z.array(Instance) }),
    }),
    listInstanceStates: call({
      wire: 'list_instance_states',
      since: '1.1',
      isRead: true,
      summary:
        'Where instances are and what is done to them, in short, oldest first. Those with these uuids, deleted ones too; else all that are not deleted. A page is empty when there are no more: give its last uuid as `marker`.',
      input: z.strictObject({
        uuids: z.array(z.guid()).max(1000).optional(),
        host: HostName.optional(),
        marker: z.guid().optional(),
        limit: z.int().min(1).max(2000).default(2000),
      }),
      output: z.object({ instances: z.array(InstanceState) }),
    }),
    explainInstance: call({
      wire: 'explain_instance',
      since: '1.0',
      isRead: true,
      summary:
        'Why an instance is where it is, or why it found no host: every try with its reasons. Errors: INSTANCE_NOT_FOUND.',
      input: z.strictObject({ instance_uuid: z.guid() }),
      output: z.object({
        instance: Instance,
        attempts: z.array(BuildAttempt),
        /** Absent: the conductor is of version 1.0. */
        migrations: z.array(InstanceMigration).optional(),
        /** Absent: the conductor is older than 1.2. */
        actions: z.array(ActionRecord).optional(),
      }),
    }),
    continueBuild: cast({
      wire: 'continue_build',
      since: '1.0',
      summary: 'From conductor to conductor: takes a stored build one step further.',
      input: z.strictObject({ instance_uuid: z.guid(), attempt: z.int().min(1) }),
      output: z.null(),
    }),
    reportBuild: cast({
      wire: 'report_build',
      since: '1.0',
      summary: 'From compute: how a try ended. A try that is void is answered with terminate_instance.',
      input: BuildReport,
      output: z.null(),
    }),
    reportBuilds: cast({
      wire: 'report_builds',
      since: '1.17',
      summary: 'As report_build, of many guests of a host. For the server that build_and_run_instances names.',
      input: z.strictObject({ reports: z.array(BuildReport).min(1).max(100) }),
      output: z.null(),
    }),
    reportTerminated: cast({
      wire: 'report_terminated',
      since: '1.0',
      summary: 'From compute: the guest is gone from this host.',
      input: z.strictObject({
        instance_uuid: z.guid(),
        attempt: z.int().min(1),
        host: HostName,
        terminated_at: z.iso.datetime(),
        /** The instance lives on elsewhere: only what that move had left here is gone. */
        migration_uuid: z.guid().optional(),
      }),
      output: z.null(),
    }),
    listDepartures: call({
      wire: 'list_departures',
      since: '1.1',
      summary:
        'From a compute worker that starts: which guests were evacuated from this host, and are to be removed before anything else is done with them? A page may be shorter than its limit; give its last migration_uuid as `marker` until a page is empty.',
      input: z.strictObject({
        host: HostName,
        marker: z.guid().optional(),
        limit: z.int().min(1).max(1000).default(500),
      }),
      output: z.object({
        /** Each instance as this host knows it. */
        departures: z.array(z.object({ migration_uuid: z.guid(), instance: Instance })),
      }),
      timeoutMs: 10_000,
    }),
    checkBuild: call({
      wire: 'check_build',
      since: '1.0',
      summary: 'From a compute worker that was interrupted: is this try still wanted here?',
      input: z.strictObject({ instance_uuid: z.guid(), attempt: z.int().min(1), host: HostName }),
      output: z.object({ wanted: z.boolean() }),
      timeoutMs: 10_000,
    }),
    replayEvents: call({
      wire: 'replay_events',
      since: '1.6',
      summary:
        'The notifications of an instance with these numbers (`sevbus.sequence`), as they were sent, with the same message ids: for a consumer that misses some. Those of long ago are kept no more (`notifications.keep_hours`). A page may be shorter than its limit; go on after its last until one is empty. With `resend` they are sent to the topic again, too.',
      input: z.strictObject({
        instance_uuid: z.guid(),
        from: z.int().min(1).default(1),
        to: z.int().min(1).max(MAX_SEQUENCE).default(MAX_SEQUENCE),
        limit: z.int().min(1).max(500).default(100),
        resend: z.boolean().default(false),
      }),
      output: z.object({
        events: z.array(z.object({ sequence: z.int(), notification: z.record(z.string(), z.unknown()) })),
        /** Given last; 0: nothing was told of such an instance. */
        last_sequence: z.int(),
      }),
    }),
    listLastEvents: call({
      wire: 'list_last_events',
      since: '1.18',
      isRead: true,
      summary:
        'How far the numbers of the notifications of these instances go (`sevbus.sequence`), for a consumer that wants to know of which it misses some: those of `replay_events`. Instances of which nothing was told are left out.',
      input: z.strictObject({ instance_uuids: z.array(z.guid()).max(1000) }),
      output: z.object({
        last_events: z.array(
          z.object({
            instance_uuid: z.guid(),
            sequence: z.int(),
            /** Of the notification with that number; null: it is kept no more. */
            message_id: z.string().nullable(),
          }),
        ),
      }),
    }),
    ...actionMethods,
    ...consoleMethods,
    ...moveMethods,
  },
})
