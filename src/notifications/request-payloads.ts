import { z } from 'zod'
import { InstanceStateWord } from './instance-words.ts'
import { ExceptionPayload, FlavorPayload } from './payloads.ts'
import { objectType } from './versioned-object.ts'

/** What a request for a host looks like in a notification: as the payloads of instances, Nova's. */
const text = z.string().nullable()
const moment = z.iso.datetime().nullable()
const texts = z.array(z.string())

/** Only the properties that are set are sent, typed as Nova types them. */
export const ImageMetaPropsPayload = objectType('ImageMetaPropsPayload', '1.19', z.looseObject({}))

export const ImageMetaPayload = objectType(
  'ImageMetaPayload',
  '1.0',
  z.looseObject({
    id: z.guid().nullable(),
    name: text,
    status: text,
    visibility: text,
    protected: z.boolean().nullable(),
    checksum: text,
    owner: text,
    size: z.int().nullable(),
    virtual_size: z.int().nullable(),
    container_format: text,
    disk_format: text,
    created_at: moment,
    updated_at: moment,
    tags: texts.nullable(),
    direct_url: text,
    min_ram: z.int().nullable(),
    min_disk: z.int().nullable(),
    properties: ImageMetaPropsPayload.schema,
  }),
)

export const ServerGroupPayload = objectType(
  'ServerGroupPayload',
  '1.1',
  z.looseObject({
    uuid: z.guid(),
    name: text,
    user_id: text,
    project_id: text,
    policies: texts.nullable(),
    members: texts.nullable(),
    hosts: texts.nullable(),
    policy: text,
    rules: z.record(z.string(), z.string()),
  }),
)

export const CellMappingPayload = objectType(
  'CellMappingPayload',
  '2.0',
  z.looseObject({ uuid: z.guid(), name: text, disabled: z.boolean() }),
)

/** What is not asked for is not in it. */
export const DestinationPayload = objectType(
  'DestinationPayload',
  '1.0',
  z.looseObject({
    host: z.string().optional(),
    node: text.optional(),
    cell: CellMappingPayload.schema.nullable().optional(),
    aggregates: texts.nullable(),
  }),
)

export const SchedulerRetriesPayload = objectType(
  'SchedulerRetriesPayload',
  '1.0',
  z.looseObject({ num_attempts: z.int(), hosts: texts }),
)

export const RequestSpecPayload = objectType(
  'RequestSpecPayload',
  '1.1',
  z.looseObject({
    instance_uuid: z.guid(),
    project_id: text,
    user_id: text,
    availability_zone: text,
    flavor: FlavorPayload.schema.nullable(),
    force_hosts: text,
    force_nodes: text,
    ignore_hosts: texts.nullable(),
    // Nova declares it and never fills it: the image is in `image`.
    image_meta: ImageMetaPayload.schema.nullable().optional(),
    image: ImageMetaPayload.schema.nullable(),
    instance_group: ServerGroupPayload.schema.nullable(),
    // InstanceNUMATopologyPayload and InstancePCIRequestsPayload of Nova; null from us: hosts have no such devices here.
    numa_topology: z.looseObject({}).nullable(),
    pci_requests: z.looseObject({}).nullable(),
    num_instances: z.int(),
    requested_destination: DestinationPayload.schema.nullable(),
    retry: SchedulerRetriesPayload.schema.nullable(),
    scheduler_hints: z.record(z.string(), texts).nullable(),
    security_groups: texts,
  }),
)

/** What the conductor could not do for an instance: no host was found, or every host failed. */
export const ComputeTaskPayload = objectType(
  'ComputeTaskPayload',
  '1.0',
  z.looseObject({
    instance_uuid: z.guid(),
    request_spec: RequestSpecPayload.schema.nullable(),
    state: InstanceStateWord.nullable(),
    reason: ExceptionPayload.schema,
  }),
)
