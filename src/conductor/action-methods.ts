import { z } from 'zod'
import { BridgeName, LibvirtNetworkName, VolumeBus, VolumePath } from '../objects/attached-devices.ts'
import { AvailabilityZone } from '../objects/availability-zone.ts'
import { SeenGuestState } from '../objects/guest-deviation.ts'
import { HostName } from '../objects/host-report.ts'
import { ImageMeta, NewImageMeta } from '../objects/image-meta.ts'
import { Instance } from '../objects/instance.ts'
import { ActionOutcome } from '../objects/instance-action.ts'
import { Mac } from '../objects/ip-address.ts'
import { text } from '../objects/text.ts'
import { call, cast } from '../rpc/contract.ts'

const ofInstance = { instance_uuid: z.guid() }
const output = z.object({ instance: Instance })

/** What is done to instances that live: the part of the conductor's door that is about actions. */
export const actionMethods = {
  startInstance: call({
    wire: 'start_instance',
    since: '1.2',
    summary:
      'Powers a stopped instance on, on its host, encrypted as it was. When it answers that is stored: it will be ACTIVE, or STOPPED with the reason. Asked again while it is done, it is nothing. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject(ofInstance),
    output,
  }),
  stopInstance: call({
    wire: 'stop_instance',
    since: '1.2',
    summary:
      'Powers an instance off. Its guest is asked to shut down, and after a while its power is taken; with `clean_shutdown` false at once. What it has on its host, its encryption slot among it, stays its own. When it answers that is stored. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject({ ...ofInstance, clean_shutdown: z.boolean().default(true) }),
    output,
  }),
  rebootInstance: call({
    wire: 'reboot_instance',
    since: '1.2',
    summary:
      'Powers an instance off and on. SOFT asks its guest to shut down first; HARD takes its power at once, of one that is stopped, paused, suspended or in ERROR too, and in place of what else is done to it. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject({ ...ofInstance, reboot_type: z.enum(['SOFT', 'HARD']).default('SOFT') }),
    output,
  }),
  pauseInstance: call({
    wire: 'pause_instance',
    since: '1.2',
    summary:
      'Has the processors of an instance stand still; its memory and its encryption key stay where they are. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject(ofInstance),
    output,
  }),
  unpauseInstance: call({
    wire: 'unpause_instance',
    since: '1.2',
    summary: 'Lets a paused instance go on. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject(ofInstance),
    output,
  }),
  suspendInstance: call({
    wire: 'suspend_instance',
    since: '1.2',
    summary:
      'Writes the memory of an instance to the disk of its host and powers it off. Errors: INSTANCE_NOT_FOUND, OPERATION_NOT_SUPPORTED_FOR_SEV of one that is encrypted, INSTANCE_INVALID_STATE.',
    input: z.strictObject(ofInstance),
    output,
  }),
  resumeInstance: call({
    wire: 'resume_instance',
    since: '1.2',
    summary:
      'Lets a suspended instance go on with the memory that it had. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject(ofInstance),
    output,
  }),
  checkAction: call({
    wire: 'check_action',
    since: '1.5',
    summary:
      'From a compute worker that an action reached late, or that was away meanwhile: is it still to be done here?',
    input: z.strictObject({
      ...ofInstance,
      attempt: z.int().min(1),
      host: HostName,
      number: z.int().min(1),
    }),
    output: z.object({ wanted: z.boolean() }),
    timeoutMs: 10_000,
  }),
  reportGuestStates: call({
    wire: 'report_guest_states',
    since: '1.3',
    summary:
      'From compute: guests that do something else than their instances, which are at rest. Each is corrected as Nova does it: an active or paused instance whose guest is off, or gone, is stopped; a stopped one that runs is powered off. `last_action` and `attempt` are those under which the instance was known when its guest was looked at: has anything been done since, it is nothing. With `resume` an active instance is started again instead.',
    input: z.strictObject({
      host: HostName,
      guests: z
        .array(
          z.strictObject({
            ...ofInstance,
            attempt: z.int().min(1),
            last_action: z.int().min(0),
            state: SeenGuestState,
            /** It ran until its host went down, and is to run again. */
            resume: z.boolean().default(false),
          }),
        )
        .max(1000),
    }),
    output: z.null(),
    timeoutMs: 30_000,
  }),
  attachVolume: call({
    wire: 'attach_volume',
    since: '1.4',
    summary:
      'Plugs a file or a block device of its host into an instance that is active, paused or stopped, as a bare disk; it keeps it over stops and starts. When it answers that is stored; its host looks whether it may have the path. Attached already, or asked again: it is nothing. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE, INVALID_ARGUMENTS; in the fault DEVICE_NOT_ALLOWED, VOLUME_ATTACH_FAILED.',
    input: z.strictObject({
      ...ofInstance,
      /** Chosen by the caller, who detaches it by this; the guest sees it as the serial number of the disk. */
      volume_id: z.guid(),
      path: VolumePath,
      /** Absent: where the root disk is. IDE is refused: QEMU plugs nothing in there. */
      bus: z.enum([...VolumeBus.options, 'ide']).optional(),
    }),
    output,
  }),
  detachVolume: call({
    wire: 'detach_volume',
    since: '1.4',
    summary:
      'Takes a volume out of an instance; a guest that runs must let it go. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE, DEVICE_NOT_FOUND; in the fault DEVICE_DETACH_FAILED.',
    input: z.strictObject({ ...ofInstance, volume_id: z.guid() }),
    output,
  }),
  attachInterface: call({
    wire: 'attach_interface',
    since: '1.4',
    summary:
      "Plugs a network interface into an instance that is active, paused or stopped; it keeps it over stops and starts. With neither `network` nor `bridge` where its host plugs all guests in; others must be on the host's list. Devices of the host itself (a `vnic_type` other than normal) are refused. Attached already, or asked again: it is nothing. Errors: INSTANCE_NOT_FOUND, OPERATION_NOT_SUPPORTED_FOR_SEV, INSTANCE_INVALID_STATE, INVALID_ARGUMENTS; in the fault DEVICE_NOT_ALLOWED, INTERFACE_ATTACH_FAILED.",
    input: z.strictObject({
      ...ofInstance,
      mac: Mac,
      /** A network of libvirt's. */
      network: LibvirtNetworkName.optional(),
      /** A bridge of the host, instead of it. */
      bridge: BridgeName.optional(),
      /** As the API tier has it for this interface; told in notifications. */
      address: text(64).optional(),
      version: z.union([z.literal(4), z.literal(6)]).default(4),
      label: text(255).default(''),
      /** Nova's word for what a port is. */
      vnic_type: text(32).default('normal'),
    }),
    output,
  }),
  detachInterface: call({
    wire: 'detach_interface',
    since: '1.4',
    summary:
      'Takes a network interface out of an instance, by its MAC address; a guest that runs must let it go. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE, DEVICE_NOT_FOUND; in the fault DEVICE_DETACH_FAILED.',
    input: z.strictObject({ ...ofInstance, mac: Mac }),
    output,
  }),
  createSnapshot: call({
    wire: 'create_snapshot',
    since: '1.8',
    summary:
      'Makes an image of the root disk of an instance that is active, paused or stopped, in the folder of images of its host. A guest that runs stands still while what it has written is copied; the image is as after a loss of power. It asks for what the instance runs with, its memory encryption included. When it answers that is stored, and `image` is what the image says. Asked again while it is made, it is nothing. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE; in the fault INVALID_ARGUMENTS when another image has the id, HOST_CAPABILITY_MISSING, DISK_CREATION_FAILED.',
    input: z.strictObject({ ...ofInstance, image_id: z.guid(), name: text(255).min(1) }),
    output: z.object({ instance: Instance, image: ImageMeta }),
  }),
  rescueInstance: call({
    wire: 'rescue_instance',
    since: '1.9',
    summary:
      'Boots an instance that is active, stopped or in ERROR from another image, with its own root disk beside that: on its host, with the encryption and the slot that it has, which is proved as at any start. An image that cannot be booted so is refused. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE; FLAVOR_IMAGE_CONFLICT and others of build_instances.',
    input: z.strictObject({
      ...ofInstance,
      /** Absent: the image that it was booted from. */
      image: NewImageMeta.optional(),
    }),
    output,
  }),
  unrescueInstance: call({
    wire: 'unrescue_instance',
    since: '1.9',
    summary:
      'Boots a rescued instance from its own root disk again, encrypted as it was. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE.',
    input: z.strictObject(ofInstance),
    output,
  }),
  shelveInstance: call({
    wire: 'shelve_instance',
    since: '1.12',
    summary:
      'Puts an instance that is active, paused or stopped away: its guest is shut down (with `clean_shutdown` false it loses its power), its root disk becomes an image in the folder of images of its host, and then its host lets go of it: it is SHELVED_OFFLOADED, on no host, and nothing is claimed or charged for it. What fails before it has its image leaves it as it was. Ephemeral disks are not kept. Asked again, it is nothing. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE; in the fault HOST_CAPABILITY_MISSING, DISK_CREATION_FAILED.',
    input: z.strictObject({ ...ofInstance, clean_shutdown: z.boolean().default(true) }),
    output,
  }),
  unshelveInstance: call({
    wire: 'unshelve_instance',
    since: '1.12',
    summary:
      'Builds a shelved instance from its image again, on any host that has room, and a slot: encrypted as it was, or better, or not at all. When it answers that is stored: it will be ACTIVE, and its image is removed, or SHELVED_OFFLOADED with the reason. Asked again while it is under way, it is nothing. Errors: INSTANCE_NOT_FOUND, INSTANCE_INVALID_STATE, COMPUTE_HOST_NOT_FOUND, UNSHELVE_HOST_NOT_IN_AZ; in the fault NO_VALID_HOST, MAX_RETRIES_EXCEEDED.',
    input: z.strictObject({
      ...ofInstance,
      /** In this zone, from now on; null: in any, from now on. Absent: in the one that it was booted for. */
      availability_zone: AvailabilityZone.nullable().optional(),
      /** Only on this one, which is judged as others are, and has to be in the zone. Absent: wherever a scheduler finds. */
      host: HostName.optional(),
    }),
    output,
  }),
  reportActionStage: cast({
    wire: 'report_action_stage',
    since: '1.8',
    summary: 'From compute: how far an action has come. Of one that something else took the place of, it is nothing.',
    input: z.strictObject({
      ...ofInstance,
      attempt: z.int().min(1),
      host: HostName,
      number: z.int().min(1),
      task_state: z.enum([
        ...(['image_pending_upload', 'image_uploading'] as const),
        ...(['shelving_image_pending_upload', 'shelving_image_uploading'] as const),
      ]),
    }),
    output: z.null(),
  }),
  reportAction: cast({
    wire: 'report_action',
    since: '1.2',
    summary: 'From compute: how an action ended. Of one that something else took the place of, it is nothing.',
    input: z.strictObject({
      ...ofInstance,
      attempt: z.int().min(1),
      host: HostName,
      number: z.int().min(1),
      outcome: ActionOutcome,
    }),
    output: z.null(),
  }),
}

export type ActionReport = z.output<(typeof actionMethods)['reportAction']['input']>
export type ActionStage = z.output<(typeof actionMethods)['reportActionStage']['input']>
