import { z } from 'zod'
import { DEFAULT_AVAILABILITY_ZONE } from './availability-zone.ts'
import { Inventory } from './inventory.ts'
import { MAX_MACHINE_TYPE } from './machine-type.ts'
import { MemEncryptionModel } from './mem-encryption.ts'
import { storedText, text } from './text.ts'

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
  name: text(255).min(1),
  parent_name: text(255).min(1).nullable(),
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

/** The numbers of a worker's reports begin anew, so much higher, at each of its starts. */
export const SEQUENCES_PER_START = 1_000_000_000

/** The process that reports. Of two with one host's name one is refused, and a report never replaces a later one. */
export const ReportingWorker = z.strictObject({
  /** Of its state folder, on this machine, since this boot: a restart keeps it, a copy of the folder does not. */
  worker_id: z.guid(),
  /** Grows with each report, over restarts too. */
  sequence: z.int().min(1),
  machine: text(255).min(1),
  pid: z.int().min(0),
  /** What its clock shows, in milliseconds since 1970: only to be told where it is wrong. Nothing is decided by it. */
  clock_ms: z.int(),
})
export type ReportingWorker = z.infer<typeof ReportingWorker>

/** A worker that lives, and whose hypervisor (libvirt) says nothing: the rest of its report is what was known last. */
export const HypervisorSilence = z.strictObject({
  /** By the clock of the host; nothing is decided by it. */
  since: z.iso.datetime(),
  reason: storedText(500),
})
export type HypervisorSilence = z.infer<typeof HypervisorSilence>

/**
 * What a compute worker tells about its host. Complete each time, so that one report is enough to know the host; the
 * scheduler writes only what changed.
 */
export const HostReport = z.strictObject({
  host: HostName,
  hypervisor_type: storedText(64),
  /** Of the processor, e.g. `x86_64`; absent: the host does not tell. */
  architecture: storedText(64).min(1).optional(),
  /** Machine type for images that leave it open, e.g. `q35` or `pc`. */
  default_machine_type: storedText(MAX_MACHINE_TYPE),
  /** All that guests may ask for by `hw_machine_type`; empty: the host does not tell. */
  machine_types: z.array(storedText(MAX_MACHINE_TYPE)).max(1000).default([]),
  supports_uefi: z.boolean(),
  /** Absent: the host does not tell. */
  uefi_guests: UefiGuests.optional(),
  /** Buses that q35 guests can have disks on; empty: the host does not tell. */
  disk_buses: z.array(storedText(255)).max(100).default([]),
  /** Models the host cannot offer, and why: shown when a request asks for them. */
  missing_models: z.record(storedText(255), storedText(500)),
  /** Builds under way; absent: the host does not tell. */
  io_ops: z.int().min(0).max(1_000_000).optional(),
  providers: z.array(ProviderReport).min(1).max(32),
  /** Seconds between reports; the host counts as down after a few of them. */
  report_interval_seconds: z.number().positive().max(3600),
  /** Absent: the hypervisor answers. Guests run on, and none can be started. */
  hypervisor_silence: HypervisorSilence.optional(),
  /** Absent: of an earlier release. No part of what the host has. */
  worker: ReportingWorker.optional(),
})
export type HostReport = z.infer<typeof HostReport>

/** What has this digest is what was told last of a host, and is known: the scheduler says so when it takes a report. */
const ReportDigest = z.string().regex(/^[0-9a-f]{64}$/, 'as it was given')

/** A host that has what it told last: a sign of life that costs next to nothing. */
export const UnchangedHost = z.strictObject({
  host: HostName,
  report_digest: ReportDigest,
  worker: ReportingWorker,
})
export type UnchangedHost = z.infer<typeof UnchangedHost>

/** What a scheduler answers to a report that it has taken. */
export const TakenReport = z.object({
  /** Absent: of a scheduler of an earlier release, or all is to be told again, to be looked at again. */
  report_digest: ReportDigest.optional(),
  /** The server that report_host_unchanged is to be sent to; absent: any. */
  unchanged_server: text(255).min(1).optional(),
})
export type TakenReport = z.infer<typeof TakenReport>

/** A host as operators see it. */
export const HostSummary = z.object({
  host: HostName,
  state: z.enum(['up', 'down']),
  disabled: z.boolean(),
  disabled_reason: z.string().nullable(),
  /** By an operator: down at once, whatever it reports. */
  forced_down: z.boolean().default(false),
  /** By an operator: powered off, so that nothing runs there. */
  fenced: z.boolean().default(false),
  /** Builds that failed there in a row. */
  failed_builds: z.int().default(0),
  last_seen_up: z.string(),
  /** Whose reports are taken: process and machine. Null: it does not say, or the scheduler is of an earlier release. */
  worker: z.string().nullable().default(null),
  availability_zone: z.string().default(DEFAULT_AVAILABILITY_ZONE),
  aggregates: z.array(z.string()).default([]),
  hypervisor_type: z.string().nullable().default(null),
  /** Since when its hypervisor does not answer, and why; null: it does. */
  hypervisor_silence: HypervisorSilence.nullable().default(null),
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
        z.object({
          total: z.int(),
          reserved: z.int(),
          /** Absent: of a scheduler of an earlier release. */
          allocation_ratio: z.number().optional(),
          capacity: z.int(),
          used: z.int(),
        }),
      ),
    }),
  ),
})
export type HostSummary = z.infer<typeof HostSummary>
