import { z } from 'zod'
import { NewFlavor } from '../objects/flavor.ts'
import { HostName } from '../objects/host-report.ts'
import { NewImageMeta } from '../objects/image-meta.ts'
import { Instance } from '../objects/instance.ts'
import { call } from '../rpc/contract.ts'

const ofInstance = { instance_uuid: z.guid() }
const output = z.object({ instance: Instance })
/** Only to this one; absent: wherever a scheduler finds. */
const host = HostName.optional()

/** What brings instances to another host, size or image, while their hosts are up: a part of the conductor's door. */
export const moveMethods = {
  resizeInstance: call({
    wire: 'resize_instance',
    since: '1.10',
    summary:
      'Gives an active or stopped instance another flavor, on another host (or its own, where conductor.allow_resize_to_same_host is set). Flavor and image are judged together as at a boot: it may gain, lose or change its encryption. When it answers that is stored: it will be RESIZED, or be where it was, with the reason. What it has on both hosts stays its own until confirm_resize or revert_resize. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE, CANNOT_RESIZE_TO_SAME_FLAVOR, CANNOT_RESIZE_DISK, COMPUTE_HOST_NOT_FOUND, INVALID_ARGUMENTS, and those of build_instances about flavor and image.',
    input: z.strictObject({ ...ofInstance, flavor: NewFlavor, host }),
    output,
  }),
  migrateInstance: call({
    wire: 'migrate_instance',
    since: '1.10',
    summary:
      'Brings an active or stopped instance to another host as it is, with its disks: a cold migration, in which its guest is off for a while. It keeps its encryption, or gets a better one of those it names. Goes on and ends as resize_instance. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE, COMPUTE_HOST_NOT_FOUND, INVALID_ARGUMENTS, and those of build_instances when flavor and image would be refused today.',
    input: z.strictObject({ ...ofInstance, host }),
    output,
  }),
  liveMigrateInstance: call({
    wire: 'live_migrate_instance',
    since: '1.13',
    summary:
      'Brings an active instance to another host as it runs, where both see the same disks: those are not copied. An encrypted one is refused before anything changes, whatever its state. When it answers that is stored: it will run there, or where it was, with the reason; what it has on both hosts is its own until then. Errors: INSTANCE_NOT_FOUND, OPERATION_NOT_SUPPORTED_FOR_SEV, INSTANCE_INVALID_STATE, COMPUTE_HOST_NOT_FOUND, INVALID_ARGUMENTS, and those of build_instances when flavor and image would be refused today.',
    input: z.strictObject({ ...ofInstance, host }),
    output,
  }),
  liveMigrationAbort: call({
    wire: 'live_migration_abort',
    since: '1.15',
    summary:
      'Gives up a live migration that is under way: the instance stays where it is, unless its guest has just left. When it answers that is stored. Asked again while it is under way, it is nothing. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE when there is none, or when it has left.',
    input: z.strictObject(ofInstance),
    output,
  }),
  liveMigrationForceComplete: call({
    wire: 'live_migration_force_complete',
    since: '1.15',
    summary:
      'Has a live migration that is under way end, however fast the guest writes: where its host permits post-copy (compute.live_migration_permit_post_copy) it goes on at the destination before all of its memory is there, else it stands still until it is. When it answers that is stored. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE when none is under way, or it is being given up.',
    input: z.strictObject(ofInstance),
    output,
  }),
  confirmResize: call({
    wire: 'confirm_resize',
    since: '1.10',
    summary:
      'A resized or migrated instance stays where it is: what it has at its source is removed there, and is free then. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject(ofInstance),
    output,
  }),
  revertResize: call({
    wire: 'revert_resize',
    since: '1.10',
    summary:
      'A resized or migrated instance goes back to its source, its flavor and its encryption there, and to its disks as they were when it left. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject(ofInstance),
    output,
  }),
  rebuildInstance: call({
    wire: 'rebuild_instance',
    since: '1.11',
    summary:
      'Makes the root disk of an instance that is active, stopped or in ERROR anew from an image, on its host; what is attached to it stays, and one that was stopped stays off. Flavor and image are judged together as at a boot, and its host by the rules of the scheduler: it may gain an encryption, with a slot, or get a better one; to lose it, or get a lesser one, takes `allow_encryption_loss`. While it is not known that its earlier guest is gone, the slots of both stay claimed. When it answers that is stored: it will run, be what it was with the reason (its host cannot, or lacks the image), or be in ERROR with its claim (its host could not after the earlier guest was gone). Asked again while it is under way, it is nothing. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE, REBUILD_LOSES_ENCRYPTION, and those of build_instances about flavor and image; in the fault NO_VALID_HOST.',
    input: z.strictObject({
      ...ofInstance,
      image: NewImageMeta,
      /** True: it may be encrypted less than now, or not at all, where the image asks for no more. */
      allow_encryption_loss: z.boolean().default(false),
    }),
    output,
  }),
}
