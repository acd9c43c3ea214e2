import { z } from 'zod'
import { ComputeSection, FakeSection, LibvirtSection } from './config-compute.ts'
import { Senders, TransportSection } from './config-transport.ts'
import { AuditPeriodSetting } from './notifications/audit-period.ts'
import { NotifyOnStateChange } from './notifications/state-update.ts'
import { NewFlavor } from './objects/flavor.ts'
import { NewImageMeta } from './objects/image-meta.ts'
import { DEFAULT_MEM_ENCRYPTION_OVERHEAD_MB } from './objects/resource-request.ts'

const Seconds = z.number().positive().max(86_400)
const Count = z.int().min(0).max(1_000_000)

/** Where flavors and images of the catalogue come from when the command line names them. */
const Catalogue = <T extends z.ZodType>(entry: T) => z.record(z.string().min(1), entry).default({})

/**
 * The whole configuration: one TOML file, each key also an environment variable `SEVBUS_<SECTION>_<KEY>` that wins over
 * the file; secrets also as `…_FILE`, whose content is the value. `docs/configuration.md` lists all of it, held by a
 * test.
 */
export const ConfigSchema = z.strictObject({
  transport: TransportSection.prefault({}),
  database: z
    .strictObject({
      /** `postgresql://user:password@host:5432/database`; without it the workers refuse to start. */
      url: z
        .string()
        .regex(/^postgres(ql)?:\/\//, 'must begin with postgresql://')
        .optional(),
      /** Connections of one worker at most. */
      pool_size: z.int().min(1).max(200).default(8),
    })
    .prefault({}),
  notifications: z
    .strictObject({
      /** Where Nova's consumers look. */
      exchange: z.string().min(1).max(120).default('nova'),
      /** Queues are `<topic>.info` and `<topic>.error`. */
      topic: z.string().min(1).max(120).default('versioned_notifications'),
      /** Nova's option: how often `instance.exists` tells of all instances; `never`: not at all. */
      instance_usage_audit_period: z.union([z.literal('never'), AuditPeriodSetting]).default('month'),
      /** Nova's option: of which changes `instance.update` tells; `never`: of none, as there where it is not set. */
      notify_on_state_change: NotifyOnStateChange.default('never'),
      /** Schedulers tell of each request for a host (`scheduler.select_destinations`), as Nova's always do. */
      select_destinations: z.boolean().default(false),
      /** Hours that notifications of instances are kept after they were sent, for consumers that miss some. */
      keep_hours: z.number().positive().max(100_000).default(168),
    })
    .prefault({}),
  worker: z
    .strictObject({
      /** Seconds that running work may take to end after SIGTERM. */
      shutdown_grace_seconds: Seconds.default(60),
      /** How often a worker asks itself through its own queues whether it still gets its messages; 0: never. */
      self_check_seconds: z.number().min(0).max(86_400).default(30),
      /** Where /livez, /readyz and /metrics are served; 0: on any free port, which the log names. Without it: nowhere. */
      monitor_port: z.int().min(0).max(65_535).optional(),
      /** The address they are served on; nobody is asked who he is. */
      monitor_host: z.string().min(1).max(255).default('127.0.0.1'),
      /** JSON lines on standard error, from this level up. */
      log_level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    })
    .prefault({}),
  conductor: z
    .strictObject({
      /** Users whose requests a conductor takes, instead of transport.allowed_senders. */
      allowed_senders: Senders.optional(),
      /** Tries to build an instance, each on another host: Nova's [scheduler]max_attempts. */
      max_attempts: z.int().min(1).max(100).default(3),
      /** A build that its host has not reported after so long is tried elsewhere: Nova's instance_build_timeout. */
      build_timeout_seconds: Seconds.default(600),
      /** An instance may be resized on the host that it is on: Nova's option of this name. */
      allow_resize_to_same_host: z.boolean().default(false),
    })
    .prefault({}),
  scheduler: z
    .strictObject({
      /** Users whose requests a scheduler takes, instead of transport.allowed_senders. */
      allowed_senders: Senders.optional(),
      /** A host is down after so many report intervals without a report: Nova's 60 s of 10 s each. */
      down_after_intervals: z.int().min(2).max(1000).default(6),
      /** Prefers hosts with more free memory; higher counts more, negative turns it round. */
      ram_weight_multiplier: z.number().default(1),
      /** The same for free VCPUs. */
      cpu_weight_multiplier: z.number().default(1),
      /** Keeps plain guests off hosts with free slots, and packs encrypted ones. */
      mem_encryption_context_weight_multiplier: z.number().default(5),
      /** The same for free disk. */
      disk_weight_multiplier: z.number().default(1),
      /** For builds under way: negative prefers hosts that are not busy. */
      io_ops_weight_multiplier: z.number().default(-1),
      /** Against hosts where builds failed in a row: Nova's, which puts them last. */
      build_failure_weight_multiplier: z.number().default(1_000_000),
      /** A host where so many builds failed in a row is disabled, until one succeeds or an operator enables it; 0: never. */
      consecutive_build_service_disable_threshold: Count.default(10),
      /** For members of the request's group on the host, when its policy is soft-affinity. */
      soft_affinity_weight_multiplier: z.number().min(0).default(1),
      /** Against them, when it is soft-anti-affinity. */
      soft_anti_affinity_weight_multiplier: z.number().min(0).default(1),
      /** Builds that a host may have under way to be chosen; without it any number. Aggregates may set another. */
      max_io_ops_per_host: z.int().min(1).max(1_000_000).optional(),
      /** Instances that a host may have to be chosen; without it any number. Aggregates may set another. */
      max_instances_per_host: z.int().min(1).max(1_000_000).optional(),
      /** MiB of MEMORY_MB that an encrypted guest takes beside its flavor's: firmware, ROMs, ACPI tables, video memory. */
      mem_encryption_overhead_mb: z.int().min(0).max(65_536).default(DEFAULT_MEM_ENCRYPTION_OVERHEAD_MB),
      /** How often claims, instances and guests are compared, one scheduler at a time; 0: never. */
      audit_interval_seconds: z.number().min(0).max(604_800).default(600),
      /** Among so many of the best hosts an instance's first is taken: Nova's option of this name. After a lost claim it is more. */
      host_subset_size: z.int().min(1).max(20).default(1),
      /** Another one orders hosts of equal weight in another way. */
      seed: z.string().max(255).default(''),
      /** What a scheduler knows of hosts is no older than this, or it asks before it refuses. */
      refresh_interval_seconds: Seconds.min(0.1).max(60).default(1),
      /** Modules with filters of your own; see examples/03-filter.js. */
      extra_filters: z.array(z.string().min(1)).default([]),
      /** Modules with weighers of your own. */
      extra_weighers: z.array(z.string().min(1)).default([]),
    })
    .prefault({}),
  compute: ComputeSection.prefault({}),
  libvirt: LibvirtSection.prefault({}),
  fake: FakeSection.prefault({}),
  bill: z
    .strictObject({
      /** A PostgreSQL database of the ledger's own, never the cloud's; without it an embedded one in bill.folder. */
      database_url: z
        .string()
        .regex(/^postgres(ql)?:\/\//, 'must begin with postgresql://')
        .optional(),
      /** Where the embedded database is kept. It survives the death of its process, but is not made for power cuts. */
      folder: z.string().min(1).default('.sevbus/bill'),
      /** The queue in which copies of the notifications wait for `sevbus bill run`. */
      pool: z.string().min(1).max(120).default('sevbus-bill'),
      /** The rate card, a YAML file; without it usage has no prices. */
      rates: z.string().min(1).optional(),
    })
    .prefault({}),
  /** Named in `sevbus boot --flavor NAME`. */
  flavors: Catalogue(NewFlavor),
  /** Named in `sevbus boot --image NAME`. */
  images: Catalogue(NewImageMeta),
})

export type ParsedConfig = z.infer<typeof ConfigSchema>

/** What the workers get: every value filled in. */
export type Config = Omit<ParsedConfig, 'compute'> & {
  readonly compute: ParsedConfig['compute'] & { readonly host: string; readonly state_folder: string }
}

/** Keys whose value must not be seen: they may also come from a file. */
export const SECRET_KEYS: readonly string[] = ['transport.url', 'database.url', 'bill.database_url']
