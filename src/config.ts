import { existsSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { parse as parseToml } from 'smol-toml'
import { z } from 'zod'
import { configurationProblems, unwrapped } from './config-problems.ts'
import { InvalidConfiguration } from './errors.ts'
import { Flavor } from './objects/flavor.ts'
import { HostName } from './objects/host-report.ts'
import { ImageMeta } from './objects/image-meta.ts'

/** Where RabbitMQ listens when nobody changed it. */
export const DEFAULT_TRANSPORT_URL = 'amqp://guest:guest@127.0.0.1:5672/'

const Seconds = z.number().positive().max(86_400)
const Count = z.int().min(0).max(1_000_000)

/** Where flavors and images of the catalogue come from when the command line names them. */
const Catalogue = <T extends z.ZodType>(entry: T) => z.record(z.string().min(1), entry).default({})

/**
 * The whole configuration: one TOML file, each key also an environment variable `SEVBUS_<SECTION>_<KEY>` that wins over
 * the file; secrets also as `…_FILE`, whose content is the value. `docs/configuration.md` lists all of it, held by a
 * test.
 */
export const Config = z.strictObject({
  transport: z
    .strictObject({
      /** `amqp(s)://user:password@host:5672/vhost`, or oslo.messaging's `rabbit://` with several hosts. */
      url: z.string().min(1).default(DEFAULT_TRANSPORT_URL),
      /** What is declared on the broker: must be the same for all that share it. */
      topology: z.enum(['quorum', 'classic-durable', 'oslo-default']).default('quorum'),
      /** Topic exchange of our queues. */
      exchange: z.string().min(1).max(120).default('sevbus'),
      /** Before the names of our topics, so that a vhost shared with Nova does not collide. */
      topic_prefix: z.string().min(1).max(60).default('sevbus-'),
      /** AMQP heartbeat; two missed ones and the connection counts as lost. */
      heartbeat_seconds: Seconds.default(60),
      /** oslo.messaging's rpc_response_timeout. */
      rpc_timeout_seconds: Seconds.default(60),
      /** Requests that a worker handles at a time. */
      concurrency: z.int().min(1).max(1024).default(32),
    })
    .prefault({}),
  database: z
    .strictObject({
      /** `postgresql://user:password@host:5432/database`; without it the workers refuse to start. */
      url: z.string().min(1).optional(),
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
    })
    .prefault({}),
  worker: z
    .strictObject({
      /** Seconds that running work may take to end after SIGTERM. */
      shutdown_grace_seconds: Seconds.default(60),
      /** JSON lines on standard error, from this level up. */
      log_level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    })
    .prefault({}),
  conductor: z
    .strictObject({
      /** Tries to build an instance, each on another host: Nova's [scheduler]max_attempts. */
      max_attempts: z.int().min(1).max(100).default(3),
      /** A build that its host has not reported after so long is tried elsewhere: Nova's instance_build_timeout. */
      build_timeout_seconds: Seconds.default(600),
    })
    .prefault({}),
  scheduler: z
    .strictObject({
      /** A host is down after so many report intervals without a report: Nova's 60 s of 10 s each. */
      down_after_intervals: z.int().min(2).max(1000).default(6),
      /** Prefers hosts with more free memory; higher counts more, negative turns it round. */
      ram_weight_multiplier: z.number().default(1),
      /** The same for free VCPUs. */
      cpu_weight_multiplier: z.number().default(1),
      /** Keeps plain guests off hosts with free slots, and packs encrypted ones. */
      mem_encryption_context_weight_multiplier: z.number().default(3),
      /** Modules with filters of your own; see examples/03-filter.js. */
      extra_filters: z.array(z.string().min(1)).default([]),
      /** Modules with weighers of your own. */
      extra_weighers: z.array(z.string().min(1)).default([]),
    })
    .prefault({}),
  compute: z
    .strictObject({
      /** This host's name: the name of its queue and of its resource provider. */
      host: HostName.optional(),
      driver: z.enum(['fake']).default('fake'),
      /** Journal and, for the simulated host, its guests. One worker per folder. */
      state_folder: z.string().min(1).optional(),
      /** Guests that start at a time on this host: Nova's option of this name. */
      max_concurrent_builds: z.int().min(1).max(1000).default(10),
      /** How often the host tells that it lives, and what it offers. */
      report_interval_seconds: Seconds.default(10),
      /** MiB kept for the host itself; pinned guests cannot be swapped out. */
      reserved_host_memory_mb: Count.default(512),
      /** VCPUs offered per CPU. */
      cpu_allocation_ratio: z.number().positive().max(64).default(4),
      /** Memory offered per memory: 1 where encrypted guests pin theirs. */
      ram_allocation_ratio: z.number().positive().max(64).default(1),
      /** Disk offered per disk. */
      disk_allocation_ratio: z.number().positive().max(64).default(1),
    })
    .prefault({}),
  /** The simulated host (`compute.driver = "fake"`). */
  fake: z
    .strictObject({
      /** CPUs of the simulated machine. */
      vcpus: z.int().min(1).max(100_000).default(64),
      /** Its memory in MiB. */
      memory_mb: z
        .int()
        .min(1024)
        .max(1 << 30)
        .default(262_144),
      /** Its disk in GiB. */
      disk_gb: z
        .int()
        .min(1)
        .max(1 << 20)
        .default(2000),
      /** Encryption keys for SEV guests; 0: the host has no SEV. */
      sev_slots: Count.default(0),
      /** Keys that the BIOS sets aside for SEV-ES. */
      sev_es_slots: Count.default(0),
      /** The same keys with the kernel in SNP mode, which switches SEV-ES off. */
      sev_snp_slots: Count.default(0),
      /** Machine type of images that leave it open. */
      default_machine_type: z.enum(['q35', 'pc']).default('q35'),
      /** How long a guest takes to start, in milliseconds. */
      spawn_delay_ms: Count.default(0),
    })
    .prefault({}),
  /** Named in `sevbus boot --flavor NAME`. */
  flavors: Catalogue(Flavor),
  /** Named in `sevbus boot --image NAME`. */
  images: Catalogue(ImageMeta),
})

type ParsedConfig = z.infer<typeof Config>

/** What the workers get: every value filled in. */
export type Config = Omit<ParsedConfig, 'compute'> & {
  readonly compute: ParsedConfig['compute'] & { readonly host: string; readonly state_folder: string }
}

/** Keys whose value must not be seen: they may also come from a file. */
export const SECRET_KEYS: readonly string[] = ['transport.url', 'database.url']

/** Variables of the test suite and of this module; any other SEVBUS_… is a mistake worth telling. */
const OTHER_VARIABLES = new Set(['SEVBUS_CONFIG'])

export interface ConfigSources {
  /** Must exist when given; else SEVBUS_CONFIG names it. */
  readonly file?: string | undefined
  /** The first of these that exists is taken when no file is named. */
  readonly fallbacks?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

/**
 * Reads the configuration once: the file, then the environment over it. The only reader of the environment.
 *
 * @throws InvalidConfiguration naming every wrong key at once, where it stands, and the fix
 */
export function loadConfig({ file: named, fallbacks = [], env = process.env }: ConfigSources = {}): Config {
  const file = named ?? env.SEVBUS_CONFIG ?? fallbacks.find((path) => existsSync(path))
  const values = file === undefined ? {} : readToml(file)
  const problems: string[] = []
  overlayEnvironment(values, env, problems)
  const parsed = Config.safeParse(values)
  if (!parsed.success) problems.push(...configurationProblems(Config, parsed.error, values))
  if (parsed.success && problems.length === 0) return withDefaults(parsed.data)
  const where = file === undefined ? 'the environment' : `${file} and the environment`
  throw new InvalidConfiguration(
    `${where}: ${problems.length} problem(s)\n${problems.map((p) => `  ${p}`).join('\n')}`,
    {
      problems,
      fix: 'correct every line above; docs/configuration.md lists all keys',
    },
  )
}

function withDefaults(config: ParsedConfig): Config {
  const host = config.compute.host ?? hostname()
  const folder = config.compute.state_folder ?? join('.sevbus', 'compute', host)
  return { ...config, compute: { ...config.compute, host, state_folder: folder } }
}

type Values = Record<string, Record<string, unknown>>

function readToml(file: string): Values {
  try {
    return parseToml(readFileSync(file, 'utf8')) as Values
  } catch (error) {
    throw new InvalidConfiguration(`${file} cannot be read: ${(error as Error).message}`, {
      file,
      fix: 'give an existing TOML file with --config or SEVBUS_CONFIG',
    })
  }
}

function overlayEnvironment(values: Values, env: NodeJS.ProcessEnv, problems: string[]): void {
  const known = new Map(environmentKeys().map((key) => [key.variable, key]))
  for (const [variable, text] of Object.entries(env)) {
    if (text === undefined || !isSetting(variable)) continue
    const key = known.get(variable)
    const secretFrom = known.get(variable.replace(/_FILE$/, ''))
    try {
      if (key !== undefined) setValue(values, key, text)
      else if (secretFrom?.secret) setValue(values, secretFrom, readFileSync(text, 'utf8').trim())
      else problems.push(`${variable}: there is no such setting; unset it, or see docs/configuration.md`)
    } catch (error) {
      problems.push(`${variable}: ${(error as Error).message}`)
    }
  }
}

function isSetting(variable: string): boolean {
  return variable.startsWith('SEVBUS_') && !variable.startsWith('SEVBUS_TEST_') && !OTHER_VARIABLES.has(variable)
}

function setValue(values: Values, { section, name, convert }: EnvironmentKey, text: string): void {
  values[section] = { ...values[section], [name]: convert(text) }
}

interface EnvironmentKey {
  readonly variable: string
  readonly section: string
  readonly name: string
  readonly secret: boolean
  readonly convert: (text: string) => unknown
}

/** Every scalar key as a variable; tables (flavors, images) are for the file. */
export function environmentKeys(): readonly EnvironmentKey[] {
  return Object.entries(Config.shape).flatMap(([section, schema]) => {
    const inner = unwrapped(schema)
    if (!(inner instanceof z.ZodObject)) return []
    return Object.entries(inner.shape as Record<string, z.ZodType>).map(([name, value]) => ({
      variable: `SEVBUS_${section}_${name}`.toUpperCase(),
      section,
      name,
      secret: SECRET_KEYS.includes(`${section}.${name}`),
      convert: converterFor(value),
    }))
  })
}

/** The environment has only text: numbers and lists are recognised by what the key takes. */
function converterFor(schema: z.ZodType): (text: string) => unknown {
  const kind = unwrapped(schema)
  if (kind instanceof z.ZodNumber)
    return (text) => (text.trim() !== '' && !Number.isNaN(Number(text)) ? Number(text) : text)
  if (kind instanceof z.ZodArray)
    return (text) =>
      text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '')
  return (text) => text
}
