import { z } from 'zod'
import { objectType } from './versioned-object.ts'

/**
 * Payloads with Nova's names, versions and fields, so that a consumer written for Nova reads ours unchanged.
 * Source: Nova's notification reference. Fields that this system has no source for are null, as Nova sends them.
 *
 * Version history: a change of fields here needs a new version, a line in CHANGELOG (Notifications), and a new sample.
 */
const text = z.string().nullable()
const moment = z.string().nullable()

export const FlavorPayload = objectType(
  'FlavorPayload',
  '1.4',
  z.looseObject({
    flavorid: text,
    name: z.string(),
    memory_mb: z.int(),
    vcpus: z.int(),
    root_gb: z.int(),
    ephemeral_gb: z.int(),
    swap: z.int(),
    rxtx_factor: z.number(),
    vcpu_weight: z.int(),
    disabled: z.boolean(),
    is_public: z.boolean(),
    extra_specs: z.record(z.string(), z.string()),
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
    port_uuid: text,
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

const InstancePayloadData = z.looseObject({
  uuid: z.string(),
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
  state: text,
  power_state: text,
  task_state: text,
  progress: z.int().nullable(),
  ip_addresses: z.array(IpPayload.schema),
  block_devices: z.array(z.unknown()).nullable(),
  metadata: z.record(z.string(), z.string()),
  locked: z.boolean(),
  auto_disk_config: text,
  request_id: text,
  action_initiator_user: text,
  action_initiator_project: text,
  locked_reason: text,
  shares: z.array(z.unknown()).nullable(),
  fault: ExceptionPayload.schema.nullable(),
})

/** Every instance event but create. */
export const InstanceActionPayload = objectType('InstanceActionPayload', '1.9', InstancePayloadData)

export const InstanceCreatePayload = objectType(
  'InstanceCreatePayload',
  '1.13',
  InstancePayloadData.extend({
    keypairs: z.array(z.unknown()),
    tags: z.array(z.string()),
    trusted_image_certificates: z.array(z.string()).nullable(),
    instance_name: text,
  }),
)

export const InstanceActionRebuildPayload = objectType(
  'InstanceActionRebuildPayload',
  '1.10',
  InstancePayloadData.extend({ trusted_image_certificates: z.array(z.string()).nullable() }),
)

/** Only the properties that are set are sent, typed as Nova types them. */
export const ImageMetaPropsPayload = objectType('ImageMetaPropsPayload', '1.19', z.looseObject({}))

export const ImageMetaPayload = objectType(
  'ImageMetaPayload',
  '1.0',
  z.looseObject({
    id: text,
    name: text,
    checksum: text,
    size: z.int().nullable(),
    container_format: text,
    disk_format: text,
    min_ram: z.int().nullable(),
    min_disk: z.int().nullable(),
    properties: ImageMetaPropsPayload.schema,
  }),
)

export const RequestSpecPayload = objectType(
  'RequestSpecPayload',
  '1.1',
  z.looseObject({
    instance_uuid: z.string(),
    project_id: text,
    user_id: text,
    availability_zone: text,
    flavor: FlavorPayload.schema,
    image: ImageMetaPayload.schema,
    num_instances: z.int(),
    force_hosts: text,
    force_nodes: text,
    ignore_hosts: z.array(z.string()).nullable(),
    security_groups: z.array(z.string()),
  }),
)

/** What the conductor could not do for an instance: no host was found, or every host failed. */
export const ComputeTaskPayload = objectType(
  'ComputeTaskPayload',
  '1.0',
  z.looseObject({
    instance_uuid: z.string(),
    request_spec: RequestSpecPayload.schema.nullable(),
    state: text,
    reason: ExceptionPayload.schema,
  }),
)
