import { z } from 'zod'
import { DiskReport } from '../objects/disk-report.ts'
import { EncryptionKeys, GuestReport } from '../objects/guest-report.ts'
import { Instance } from '../objects/instance.ts'
import { LeftDisks, StorageId } from '../objects/left-disks.ts'
import { Allocation } from '../objects/request-spec.ts'
import { UserData } from '../objects/user-data.ts'
import { ContextOfOne, call, cast, defineApi } from '../rpc/contract.ts'
import { actionMethods } from './action-methods.ts'
import { consoleMethods } from './console-methods.ts'
import { moveMethods } from './move-methods.ts'

/**
 * The compute worker's door; ask one by its host's name.
 *
 * Version history:
 * - 1.0 build_and_run_instance, terminate_instance, get_domain_xml, list_guests
 * - 1.1 list_guests tells models, tries, what is under way, and the kernel's counts of keys; build_and_run_instance takes
 *   the allocations of the try and user_data, and terminate_instance a migration_uuid, which an older worker refuses
 * - 1.2 start_instance, stop_instance, reboot_instance, pause_instance, unpause_instance, suspend_instance,
 *   resume_instance; list_guests tells of actions
 * - 1.3 attach_volume, detach_volume, attach_interface, detach_interface
 * - 1.4 get_console_output, get_vnc_console, get_spice_console, get_serial_console
 * - 1.5 snapshot_instance
 * - 1.6 rescue_instance, unrescue_instance
 * - 1.7 prep_resize, resize_instance, finish_resize, finish_revert_resize; terminate_instance takes keeps_disks_aside and
 *   only_disks_aside, which an older worker refuses
 * - 1.8 rebuild_instance
 * - 1.9 shelve_instance, remove_shelved_image
 * - 1.10 check_can_live_migrate_source, check_can_live_migrate_destination, pre_live_migration, live_migration,
 *   post_live_migration_at_destination, rollback_live_migration_at_destination
 * - 1.11 rollback_live_migration
 * - 1.12 remove_stray_disks; list_guests tells disks
 * - 1.13 live_migration_abort, live_migration_force_complete
 * - 1.14 build_and_run_instances
 */
export const ComputeApi = defineApi({
  service: 'compute',
  version: '1.14',
  methods: {
    buildAndRunInstance: cast({
      wire: 'build_and_run_instance',
      since: '1.0',
      summary:
        'Boots the instance on this host, where its resources are claimed: `allocations` are what the try was given. An encrypted guest without a slot of its model here, or one in clear with a slot, is not started (CLAIM_MISMATCH). Accepted once written to the journal.',
      input: z.strictObject({
        instance: Instance,
        /** Absent: the conductor is of version 1.0, and does not tell. */
        allocations: z.array(Allocation).max(64).optional(),
        /** What the request had for cloud-init, base64. */
        user_data: UserData.optional(),
      }),
      output: z.null(),
    }),
    buildAndRunInstances: cast({
      wire: 'build_and_run_instances',
      since: '1.14',
      summary:
        'As build_and_run_instance, of many that were placed here at a time and have nothing to do with each other. The ends of those that run may go in one message, report_builds, to the server of conductors by the name `reports_to`.',
      input: z.strictObject({
        builds: z
          .array(
            z.strictObject({ context: ContextOfOne, instance: Instance, allocations: z.array(Allocation).max(64) }),
          )
          .min(1)
          .max(100),
        reports_to: z
          .string()
          .max(100)
          .regex(/^_[a-z-]+$/, 'an underscore, small letters and dashes'),
      }),
      output: z.null(),
    }),
    prepResize: call({
      wire: 'prep_resize',
      since: '1.7',
      summary:
        'Could this host, where its resources are claimed, take over the instance as it is given? Changes nothing. `storage` names what it sees of disks: hosts that tell the same can take over guests from each other. Errors: CLAIM_MISMATCH, HOST_CAPABILITY_MISSING, and others of build_and_run_instance.',
      input: z.strictObject({ instance: Instance, allocations: z.array(Allocation).max(64) }),
      output: z.object({ storage: StorageId }),
      timeoutMs: 30_000,
    }),
    finishResize: cast({
      wire: 'finish_resize',
      since: '1.7',
      summary:
        'At the destination of a resize or cold migration: builds the instance as build_and_run_instance does, on copies of the `disks` that its source has left, made larger where its flavor is; with `power_on` false it is defined and stays off. Accepted once written to the journal; report_build tells its end.',
      input: z.strictObject({
        instance: Instance,
        allocations: z.array(Allocation).max(64),
        disks: LeftDisks,
        power_on: z.boolean(),
        /** What the request had for cloud-init, base64. */
        user_data: UserData.optional(),
      }),
      output: z.null(),
    }),
    rebuildInstance: cast({
      wire: 'rebuild_instance',
      since: '1.8',
      summary:
        'Builds the instance as build_and_run_instance does, in place of the guest of an earlier try that is here: that is asked to shut down, and its disks go, when all that can be known before has been found in order (image, claim, what this host can); else it is not touched, and the report says `unchanged`. With `power_on` false it is defined and stays off. Accepted once written to the journal; report_build tells its end.',
      input: z.strictObject({
        instance: Instance,
        allocations: z.array(Allocation).max(64),
        power_on: z.boolean(),
        /** What the request had for cloud-init, base64. */
        user_data: UserData.optional(),
      }),
      output: z.null(),
    }),
    ...moveMethods,
    terminateInstance: cast({
      wire: 'terminate_instance',
      since: '1.0',
      summary:
        'Destroys the guest and its disks, a running build of it included. `instance` as last stored; void: a build that lost its claim is removed without telling anybody; with `migration_uuid`, the guest of an instance that was moved away: the conductor alone is told.',
      input: z.strictObject({
        instance: Instance,
        void: z.boolean().default(false),
        migration_uuid: z.guid().optional(),
        /** True: the instance goes back to what it has left on this very host, which is kept. */
        keeps_disks_aside: z.boolean().optional(),
        /** True: the instance stays on this very host, and only what it has left here goes. */
        only_disks_aside: z.boolean().optional(),
      }),
      output: z.null(),
    }),
    removeShelvedImage: cast({
      wire: 'remove_shelved_image',
      since: '1.9',
      summary:
        'Removes the image that shelve_instance has made here: its instance runs again, or is deleted. Gone already, or of another instance: it is nothing.',
      input: z.strictObject({ instance_uuid: z.guid(), image_id: z.guid() }),
      output: z.null(),
    }),
    ...actionMethods,
    ...consoleMethods,
    getDomainXml: call({
      wire: 'get_domain_xml',
      since: '1.0',
      isRead: true,
      summary: 'The libvirt domain document of a guest, as the hypervisor has it. Errors: GUEST_NOT_FOUND.',
      input: z.strictObject({ instance_uuid: z.guid() }),
      output: z.object({ xml: z.string() }),
      timeoutMs: 10_000,
    }),
    listGuests: call({
      wire: 'list_guests',
      since: '1.1',
      isRead: true,
      summary:
        "What the hypervisor has, whether known to us or not, with what the worker knows of each guest and does to it; `busy` counts builds and terminations under way, `keys` are the kernel's counts of encryption keys, null where it does not tell; `disks` are folders of disks that no guest here has for its own, and with which nothing is done.",
      input: z.strictObject({}),
      output: z.object({
        guests: z.array(GuestReport),
        busy: z.int().min(0),
        keys: EncryptionKeys.nullable(),
        /** Absent: the worker is older than 1.12. */
        disks: z.array(DiskReport).optional(),
      }),
      timeoutMs: 10_000,
    }),
    removeStrayDisks: call({
      wire: 'remove_stray_disks',
      since: '1.12',
      summary:
        'Removes the disks that this host has of an instance which lives elsewhere or nowhere, with what is left of its guest; of one that lives here, those that a move has set aside which is over. The host asks a conductor itself first. None are there any more: it is nothing. Errors: INSTANCE_INVALID_STATE when they are, or may be, needed.',
      input: z.strictObject({ instance_uuid: z.guid() }),
      output: z.null(),
      timeoutMs: 60_000,
    }),
  },
})
