import { z } from 'zod'
import { DEFAULT_AVAILABILITY_ZONE } from './availability-zone.ts'
import { Inventory } from './inventory.ts'
import { MAX_MACHINE_TYPE } from './machine-type.ts'
import { MemEncryptionModel } from './mem-encryption.ts'

/**
 * A host's name. What is named after it must fit AMQP's 255 bytes, and placement's 255 characters: its queue
 * `<topic_prefix>compute.<host>`, of at most 40 + 8 + 200, and its provider `<host>_amd_sev_snp`, of 200 + 12.
 */
export const HostName = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'letters, digits, dot, dash and underscore only')

/** One resource provider of the host's tree: the host itself (no parent), or a pool of encryption slots under it. */
export const ProviderReport = z.strictObject({
  name: z.string().min(1).max(255),
  parent_name: z.string().min(1).max(255).nullable(),
  inventories: z.record(
    z
      .string()
      .regex(/^[A-Z0-9_]+$/)
      .max(255),
    Inventory,
  ),
  traits: z
    .array(
      z
        .string()
        .regex(/^[A-Z0-9_]+$/)
        .max(255),
    )
    .max(256),
})
export type ProviderReport = z.infer<typeof ProviderReport>

const GuestKinds = z.array(z.enum(['plain', ...MemEncryptionModel.options])).max(16)

/** Guests that UEFI firmware of a host boots, by whether it keeps their variables: models, and `plain` for those in clear. */
export const UefiGuests = z.strictObject({ stateful: GuestKinds, stateless: GuestKinds })
export type UefiGuests = z.infer<typeof UefiGuests>

/**
 * What a compute worker tells about its host. Complete each time, so that one report is enough to know the host; the
 * scheduler writes only what changed.
 */
export const HostReport = z.strictObject({
  host: HostName,
  hypervisor_type: z.string().max(64),
  /** Of the processor, e.g. `x86_64`; absent: the host does not tell. */
  architecture: z.string().min(1).max(64).optional(),
  /** Machine type for images that leave it open, e.g. `q35` or `pc`. */
  default_machine_type: z.string().max(MAX_MACHINE_TYPE),
  /** All that guests may ask for by `hw_machine_type`; empty: the host does not tell. */
  machine_types: z.array(z.string().max(MAX_MACHINE_TYPE)).max(1000).default([]),
  supports_uefi: z.boolean(),
  /** Absent: the host does not tell. */
  uefi_guests: UefiGuests.optional(),
  /** Buses that q35 guests can have disks on; empty: the host does not tell. */
  disk_buses: z.array(z.string().max(255)).max(100).default([]),
  /** Models the host cannot offer, and why: shown when a request asks for them. */
  missing_models: z.record(z.string(), z.string().max(500)),
  /** Builds under way; absent: the host does not tell. */
  io_ops: z.int().min(0).max(1_000_000).optional(),
  providers: z.array(ProviderReport).min(1).max(32),
  /** Seconds between reports; the host counts as down after a few of them. */
  report_interval_seconds: z.number().positive().max(3600),
})
export type HostReport = z.infer<typeof HostReport>

/** A host as operators see it. */
export const HostSummary = z.object({
  host: HostName,
  state: z.enum(['up', 'down']),
  disabled: z.boolean(),
  disabled_reason: z.string().nullable(),
  /** By an operator: down at once, whatever it reports. */
  forced_down: z.boolean().default(false),
  /** Builds that failed there in a row. */
  failed_builds: z.int().default(0),
  last_seen_up: z.string(),
  availability_zone: z.string().default(DEFAULT_AVAILABILITY_ZONE),
  aggregates: z.array(z.string()).default([]),
  hypervisor_type: z.string().nullable().default(null),
  architecture: z.string().nullable().default(null),
  default_machine_type: z.string(),
  /** Models that the host cannot offer, and why. */
  missing_models: z.record(z.string(), z.string()).default({}),
  /** Builds under way by its last report; null: the host does not tell. */
  io_ops: z.int().nullable().default(null),
  instances: z.int(),
  providers: z.array(
    z.object({
      name: z.string(),
      /** Model whose slots this pool has; null for the host itself. */
      model: z.string().nullable(),
      traits: z.array(z.string()).default([]),
      inventories: z.record(
        z.string(),
        z.object({ total: z.int(), reserved: z.int(), capacity: z.int(), used: z.int() }),
      ),
    }),
  ),
})
export type HostSummary = z.infer<typeof HostSummary>
