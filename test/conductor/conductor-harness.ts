import { ComputeApi } from '../../src/compute/rpc-api.ts'
import { conductorEndpoint } from '../../src/conductor/manager.ts'
import type { ConductorPorts } from '../../src/conductor/ports.ts'
import { conductorMigrations } from '../../src/conductor/schema.ts'
import { Steps } from '../../src/conductor/steps.ts'
import type { Migration } from '../../src/database/migration.ts'
import { DatabaseOutbox } from '../../src/database/outbox.ts'
import { outboxMigrations } from '../../src/database/outbox-schema.ts'
import { InstanceEvents } from '../../src/notifications/instance-events.ts'
import { DEFAULT_NOTIFICATION_NAMES } from '../../src/notifications/notification.ts'
import { HostSummary } from '../../src/objects/host-report.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { RequestSpec, Selection } from '../../src/objects/request-spec.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { destinationName } from '../../src/rpc/transport.ts'
import type { DatabaseEngine } from '../support/databases.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { silent } from '../support/transports.ts'

const CONTEXT = { request_id: 'req-1', user_id: 'user-1', project_id: 'project-1' }

export type Scheduler = (spec: RequestSpec) => Promise<Selection>

/** A conductor on a real database, with a scheduler that the test plays, and its outbox laid open. */
export async function aConductor(
  engine: DatabaseEngine,
  scheduler: Scheduler,
  changes: Partial<ConductorPorts> = {},
  more: readonly Migration[] = [],
) {
  const opened = await engine.open([...outboxMigrations, ...conductorMigrations, ...more])
  const { database } = opened
  const states = new Map<string, 'up' | 'down'>()
  const zones = new Map<string, string>()
  const fenced = new Set<string>()
  const prepares = new Map<string, (instance: Instance) => Promise<string>>()
  const lives = new Map<string, (instance: Instance) => Promise<unknown>>()
  const store = new DatabaseOutbox(database, { owner: 'conductor' })
  const { storing } = store
  const outbox: ConductorPorts['outbox'] = {
    storing,
    enqueue: (tx, messages, options) => store.enqueue(tx, messages, options),
    kept: (key, span, limit) => store.kept(key, span, limit),
    sendAgain: (key, span) => store.sendAgain(key, span),
    lastNumber: (key) => store.lastNumber(key),
    lastOf: (keys) => store.lastOf(keys),
    announce() {},
    offer() {},
  }
  const client = new RpcClient({ transport: new MemoryBus().connect(), logger: silent })
  const ports: ConductorPorts = {
    database,
    outbox,
    steps: new Steps(database, outbox, { client }),
    client,
    scheduler: {
      selectDestinationsOfBatch: async (_context, { request_spec, instance_uuids }) => ({
        selections: await Promise.all(
          instance_uuids.map(async (instance_uuid) => ({
            instance_uuid,
            selection: await scheduler({ ...(request_spec as RequestSpec), instance_uuid }),
          })),
        ),
      }),
      listHosts: async (_context, { hosts = [] }) => ({
        hosts: hosts.flatMap((host) => {
          const state = states.get(host)
          const summary = { ...A_SUMMARY, host, state, fenced: fenced.has(host), availability_zone: zones.get(host) }
          return state === undefined ? [] : [HostSummary.parse(summary)]
        }),
      }),
    },
    askForHost: (_context, spec) => scheduler(spec),
    compute: {
      ...client.of(ComputeApi),
      prepResize: async (_context, args, { server = '' } = {}) => {
        const answer = await (prepares.get(server) ?? (async () => 'simulated'))(args.instance as Instance)
        return { storage: answer }
      },
      checkCanLiveMigrateSource: async (_context, args, { server = '' } = {}) => {
        await lives.get(`source ${server}`)?.(args.instance as Instance)
        return { storage: 'simulated', disks: { folder: `/shared/${server}`, files: [{ name: 'disk', bytes: 1 }] } }
      },
      checkCanLiveMigrateDestination: async (_context, args, { server = '' } = {}) => {
        await lives.get(`destination ${server}`)?.(args.instance as Instance)
        return null
      },
      preLiveMigration: async (_context, args, { server = '' } = {}) => {
        await lives.get(`pre ${server}`)?.(args.instance as Instance)
        return { migrate_data: migrateData(server) }
      },
    },
    allowResizeToSameHost: false,
    events: new InstanceEvents(DEFAULT_NOTIFICATION_NAMES, 'nova-conductor:test'),
    logger: silent,
    maxAttempts: 3,
    buildTimeoutMs: 60_000,
    now: () => new Date(),
    ...changes,
  }
  const endpoint = conductorEndpoint(ports)
  const request = { context: CONTEXT, signal: new AbortController().signal }
  return {
    ports,
    endpoint,
    /** Hosts as the scheduler sees them; those that are not there have never reported. */
    states,
    /** The availability zones of hosts; of others it is Nova's default. */
    zones,
    /** Of these nobody has to wait for. */
    fenced,
    /** What a host answers that is asked whether it can take an instance; those that are not there can. */
    prepares,
    /** What a host does that takes part in a live migration, by `source h1`, `destination h2` and `pre h2`; it may throw. */
    lives,
    request,
    /** Accepts one SEV instance. */
    async accept(flavor: object = sevFlavor, more: { readonly instance_uuids?: string[] } = {}): Promise<Instance> {
      const asked = { name: 'web', flavor: flavor as typeof sevFlavor, image: anImage(), count: 1, ip_addresses: [] }
      const args = { ...asked, ...more }
      return (await endpoint.buildInstances(args, request)).instances[0] as Instance
    },
    async instance(uuid: string): Promise<Instance> {
      return (await endpoint.getInstance({ instance_uuid: uuid }, request)).instance as Instance
    },
    async attempts(uuid: string) {
      const { attempts } = await endpoint.explainInstance({ instance_uuid: uuid }, request)
      return attempts.map(({ attempt, host, outcome }) => ({ attempt, host, outcome }))
    },
    /** Everything stored for sending since the last look: where to, and what. */
    async sent(): Promise<{ to: string; what: unknown; args: Record<string, unknown> }[]> {
      const rows = await database.query<{ destination: never; body: string }>(
        'with gone as (delete from outbox returning *) select destination, body from gone order by id',
      )
      return rows.map(({ destination, body }) => {
        const message = decodeEnvelope(Buffer.from(body), 'application/json')
        const args = (message.args ?? message.payload) as Record<string, unknown>
        return { to: destinationName(destination), what: message.method ?? message.event_type, args }
      })
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  }
}

const A_SUMMARY = {
  disabled: false,
  disabled_reason: null,
  last_seen_up: '2026-01-01T00:00:00.000Z',
  default_machine_type: 'q35',
  instances: 0,
  providers: [],
}

/** What a destination tells. */
export function migrateData(host: string) {
  return { folder: `/shared/${host}`, definition: 'digest', target_connect_addr: null, graphics_listen_addr: null }
}

export function aSelection(host: string, attempt = 1): Selection {
  return {
    host,
    attempt,
    allocations: [{ provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }],
    report: { hosts_considered: 1, rejected: [], rejections: [], ranking: [{ host, weight: 0, weights: {} }] },
  }
}

/** An instance that runs on h1. */
export async function active(cloud: Awaited<ReturnType<typeof aConductor>>): Promise<Instance> {
  const { uuid } = await cloud.accept()
  await cloud.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, cloud.request)
  const outcome = { result: 'active', launched_at: '2026-01-01T00:02:00.000Z' } as const
  await cloud.endpoint.reportBuild({ instance_uuid: uuid, attempt: 1, host: 'h1', outcome }, cloud.request)
  await cloud.sent()
  return cloud.instance(uuid)
}
