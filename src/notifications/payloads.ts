import { z } from 'zod'
import { InstanceStateWord, PowerStateWord, TaskStateWord } from './instance-words.ts'
import { objectType } from './versioned-object.ts'

/**
 * Payloads with Nova's names, versions and fields, so that a consumer written for Nova reads ours unchanged.
 * Source: Nova's notification reference. Fields that this system has no source for are null, as Nova sends them.
 *
 * A change of fields needs a new version: docs/notifications/schemas has each version as it was, and a test refuses that
 * one changes. It needs a line in CHANGELOG (Notifications), and a new sample, besides.
 */
const text = z.string().nullable()
const moment = z.iso.datetime().nullable()

export const FlavorPayload = objectType(
  'FlavorPayload',
  '1.4',
  z.looseObject({
    flavorid: text,
    name: z.string(),
    memory_mb: z.int().nullable(),
    vcpus: z.int().nullable(),
    root_gb: z.int().nullable(),
    ephemeral_gb: z.int().nullable(),
    swap: z.int(),
    rxtx_factor: z.number().nullable(),
    vcpu_weight: z.int().nullable(),
    disabled: z.boolean(),
    is_public: z.boolean(),
    extra_specs: z.record(z.string(), z.string()).nullable(),
    projects: z.array(z.string()).nullable(),
    description: text,
  }),
)

export const IpPayload = objectType(
  'IpPayload',
  '1.0',
  z.looseObject({
    label: z.string(),
    mac: z.string(),
    meta: z.record(z.string(), z.string()),
    port_uuid: z.guid().nullable(),
    version: z.int(),
    address: z.string(),
    device_name: text,
  }),
)

export const ExceptionPayload = objectType(
  'ExceptionPayload',
  '1.1',
  z.looseObject({
    module_name: z.string(),
    function_name: z.string(),
    exception: z.string(),
    exception_message: z.string(),
    traceback: z.string(),
  }),
)

/** Volumes only, and only where Nova's `bdms_in_notifications` is set. */
export const BlockDevicePayload = objectType(
  'BlockDevicePayload',
  '1.0',
  z.looseObject({
    device_name: text,
    boot_index: z.int().nullable(),
    delete_on_termination: z.boolean(),
    volume_id: z.guid(),
    tag: text,
  }),
)

export const SharePayload = objectType(
  'SharePayload',
  '1.0',
  z.looseObject({ share_mapping_uuid: z.guid(), share_id: z.guid(), status: text, tag: z.string() }),
)

export const KeypairPayload = objectType(
  'KeypairPayload',
  '1.0',
  z.looseObject({ user_id: text, name: z.string(), fingerprint: text, public_key: text, type: z.string() }),
)

const InstancePayloadData = z.looseObject({
  uuid: z.guid(),
  user_id: text,
  tenant_id: text,
  reservation_id: text,
  display_name: text,
  display_description: text,
  host_name: text,
  host: text,
  node: text,
  os_type: text,
  architecture: text,
  availability_zone: text,
  flavor: FlavorPayload.schema,
  image_uuid: text,
  key_name: text,
  kernel_id: text,
  ramdisk_id: text,
  created_at: moment,
  launched_at: moment,
  terminated_at: moment,
  deleted_at: moment,
  updated_at: moment,
  state: InstanceStateWord.nullable(),
  power_state: PowerStateWord.nullable(),
  task_state: TaskStateWord.nullable(),
  progress: z.int().nullable(),
  ip_addresses: z.array(IpPayload.schema),
  block_devices: z.array(BlockDevicePayload.schema).nullable(),
  metadata: z.record(z.string(), z.string()),
  locked: z.boolean(),
  auto_disk_config: z.enum(['MANUAL', 'AUTO']),
  request_id: text,
  action_initiator_user: text,
  action_initiator_project: text,
  locked_reason: text,
  shares: z.array(SharePayload.schema).nullable(),
})

const InstanceActionData = InstancePayloadData.extend({ fault: ExceptionPayload.schema.nullable() })

/** Every event of something that is done to an instance, but its creation. */
export const InstanceActionPayload = objectType('InstanceActionPayload', '1.9', InstanceActionData)

export const AuditPeriodPayload = objectType(
  'AuditPeriodPayload',
  '1.0',
  z.looseObject({ audit_period_beginning: z.iso.datetime(), audit_period_ending: z.iso.datetime() }),
)

/** That it lived in an audit period, and what it is like as it is told. */
export const InstanceExistsPayload = objectType(
  'InstanceExistsPayload',
  '2.1',
  InstancePayloadData.extend({ audit_period: AuditPeriodPayload.schema }),
)

export const InstanceStateUpdatePayload = objectType(
  'InstanceStateUpdatePayload',
  '1.0',
  z.looseObject({ old_state: text, state: text, old_task_state: text, new_task_state: text }),
)

/** That its state, or what is done to it, has changed. */
export const InstanceUpdatePayload = objectType(
  'InstanceUpdatePayload',
  '2.1',
  InstancePayloadData.extend({
    state_update: InstanceStateUpdatePayload.schema,
    audit_period: AuditPeriodPayload.schema,
    old_display_name: text,
    tags: z.array(z.string()),
  }),
)

export const InstanceCreatePayload = objectType(
  'InstanceCreatePayload',
  '1.13',
  InstanceActionData.extend({
    keypairs: z.array(KeypairPayload.schema),
    tags: z.array(z.string()),
    trusted_image_certificates: z.array(z.string()).nullable(),
    instance_name: text,
  }),
)

export const InstanceActionResizePrepPayload = objectType(
  'InstanceActionResizePrepPayload',
  '1.4',
  InstanceActionData.extend({ new_flavor: FlavorPayload.schema.nullable() }),
)

export const InstanceActionRebuildPayload = objectType(
  'InstanceActionRebuildPayload',
  '1.10',
  InstanceActionData.extend({ trusted_image_certificates: z.array(z.string()).nullable() }),
)

export const InstanceActionVolumePayload = objectType(
  'InstanceActionVolumePayload',
  '1.7',
  InstanceActionData.extend({ volume_id: z.guid() }),
)

export const InstanceActionSnapshotPayload = objectType(
  'InstanceActionSnapshotPayload',
  '1.10',
  InstanceActionData.extend({ snapshot_image_id: z.guid() }),
)

/** A slot for an encrypted guest, from when and until when it is charged. Nova tells nothing of the kind. */
export const SlotPayload = objectType(
  'SlotPayload',
  '1.0',
  z.looseObject({
    instance_uuid: z.guid(),
    tenant_id: text,
    user_id: text,
    host: z.string(),
    /** The try that it was claimed for. */
    attempt: z.int().min(1),
    model: z.string(),
    provider: z.string(),
    resource_class: z.string(),
    amount: z.int().min(1),
  }),
  'sevbus',
)

export const InstanceActionRescuePayload = objectType(
  'InstanceActionRescuePayload',
  '1.4',
  InstanceActionData.extend({ rescue_image_ref: z.guid().nullable() }),
)
