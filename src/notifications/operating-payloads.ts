import { z } from 'zod'
import { ExceptionPayload } from './payloads.ts'
import { objectType } from './versioned-object.ts'

/** Of hosts, and of what operators make of them: as the payloads of instances, Nova's. */
const text = z.string().nullable()
const moment = z.iso.datetime().nullable()

/** The compute service of a host. */
export const ServiceStatusPayload = objectType(
  'ServiceStatusPayload',
  '1.1',
  z.looseObject({
    host: text,
    binary: text,
    topic: text,
    report_count: z.int(),
    disabled: z.boolean(),
    disabled_reason: text,
    availability_zone: text,
    last_seen_up: moment,
    forced_down: z.boolean(),
    version: z.int(),
    uuid: z.guid(),
  }),
)

export const AggregatePayload = objectType(
  'AggregatePayload',
  '1.1',
  z.looseObject({
    // Of one that is not made yet Nova knows neither.
    id: z.int().optional(),
    hosts: z.array(z.string()).nullable().optional(),
    uuid: z.guid(),
    name: z.string(),
    metadata: z.record(z.string(), z.string()).nullable(),
  }),
)

/** A host has no connection to its libvirt. */
export const LibvirtErrorPayload = objectType(
  'LibvirtErrorPayload',
  '1.0',
  z.looseObject({ ip: z.string(), reason: ExceptionPayload.schema }),
)
