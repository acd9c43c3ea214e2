import type { Queryable } from '../../database/database.ts'
import { availabilityZoneOf } from '../../objects/availability-zone.ts'
import type { HypervisorSilence, UefiGuests } from '../../objects/host-report.ts'
import { capacity, type Inventory } from '../../objects/inventory.ts'
import type { HostAggregate, HostState, InventoryState, ProviderState } from '../host-state.ts'
import { isUp } from '../liveness.ts'

/** Hosts as the database has them now, by name; all of them when none is named. */
export async function hostStates(
  database: Queryable,
  downAfterIntervals: number,
  names?: readonly string[],
): Promise<readonly HostState[]> {
  const only = [names === undefined ? null : [...names]]
  const hosts = await database.query<HostRow>(
    `select h.host, h.facts, h.root_provider, h.report_interval_seconds, h.last_seen_up, h.disabled, h.disabled_reason,
            h.forced_down, h.fenced, h.failed_builds,
            extract(epoch from now() - h.last_seen_up)::double precision as seconds_since_seen,
            coalesce(c.instances, 0) as instances,
            array(select g.aggregate from aggregate_hosts g where g.host = h.host order by g.aggregate collate "C") as aggregates
       from compute_hosts h
       left join (select host, count(*) as instances from consumers
                   where host is not null and ($1::text[] is null or host = any($1)) group by host) c on c.host = h.host
      where $1::text[] is null or h.host = any($1)
      order by h.host collate "C"`,
    only,
  )
  const aggregates = await aggregatesByName(database, hosts)
  const providers = await database.query<ProviderRow>(
    `select p.host, p.name, array(select t.trait from provider_traits t where t.provider = p.name order by 1) as traits
       from resource_providers p where $1::text[] is null or p.host = any($1)
      order by p.name collate "C"`,
    only,
  )
  const inventories = await database.query<InventoryRow>(
    `select i.provider, i.resource_class, i.total, i.reserved, i.min_unit, i.max_unit, i.step_size, i.allocation_ratio,
            i.used, i.pinned, i.offered, i.version
       from inventories i join resource_providers p on p.name = i.provider
      where $1::text[] is null or p.host = any($1)
      order by i.provider collate "C", i.resource_class collate "C"`,
    only,
  )
  const inventoriesOf = groupBy(inventories, ({ provider }) => provider)
  const providersOf = groupBy(providers, ({ host }) => host)
  return hosts.flatMap((host) => {
    const tree = (providersOf.get(host.host) ?? []).map((row) => providerState(row, inventoriesOf.get(row.name) ?? []))
    const root = tree.find(({ name }) => name === host.root_provider)
    // Its providers were replaced between two of the queries: it is there again at the next look.
    return root === undefined ? [] : [hostState(host, { root, tree, aggregates, downAfterIntervals })]
  })
}

interface HostRow {
  readonly host: string
  readonly facts: {
    readonly hypervisor_type: string
    readonly hypervisor_silence?: HypervisorSilence
    readonly architecture?: string
    readonly io_ops?: number
    readonly default_machine_type: string
    /** Absent: written by an earlier release. */
    readonly machine_types?: readonly string[]
    readonly supports_uefi: boolean
    readonly uefi_guests?: UefiGuests
    readonly disk_buses?: readonly string[]
    readonly missing_models: Readonly<Record<string, string>>
  }
  readonly root_provider: string
  readonly report_interval_seconds: number
  readonly last_seen_up: Date
  readonly seconds_since_seen: number
  readonly forced_down: boolean
  readonly fenced: boolean
  readonly failed_builds: number
  readonly disabled: boolean
  readonly disabled_reason: string | null
  readonly instances: number
  readonly aggregates: readonly string[]
}

interface ProviderRow {
  readonly host: string
  readonly name: string
  readonly traits: readonly string[]
}

interface InventoryRow extends Inventory {
  readonly provider: string
  readonly resource_class: string
  readonly used: number
  readonly pinned: number
  readonly offered: boolean
  readonly version: number
}

function hostState(
  row: HostRow,
  {
    root,
    tree,
    aggregates: known,
    downAfterIntervals,
  }: {
    readonly root: ProviderState
    readonly tree: readonly ProviderState[]
    readonly aggregates: ReadonlyMap<string, HostAggregate>
    readonly downAfterIntervals: number
  },
): HostState {
  // One that was deleted between two of the queries is in the log of changes.
  const aggregates = row.aggregates.flatMap((name) => known.get(name) ?? [])
  return {
    host: row.host,
    up: !row.forced_down && isUp(row.seconds_since_seen, row.report_interval_seconds, downAfterIntervals),
    forcedDown: row.forced_down,
    fenced: row.fenced,
    secondsSinceSeen: row.seconds_since_seen,
    lastSeenUp: row.last_seen_up,
    reportIntervalSeconds: row.report_interval_seconds,
    disabled: row.disabled,
    disabledReason: row.disabled_reason ?? undefined,
    failedBuilds: row.failed_builds,
    aggregates,
    availabilityZone: availabilityZoneOf(aggregates),
    hypervisorType: row.facts.hypervisor_type,
    hypervisorSilence: row.facts.hypervisor_silence,
    architecture: row.facts.architecture,
    defaultMachineType: row.facts.default_machine_type,
    machineTypes: row.facts.machine_types ?? [],
    supportsUefi: row.facts.supports_uefi,
    uefiGuests: row.facts.uefi_guests,
    diskBuses: row.facts.disk_buses ?? [],
    missingModels: row.facts.missing_models,
    ioOps: row.facts.io_ops,
    instances: row.instances,
    root,
    pools: tree.filter((provider) => provider !== root),
  }
}

function providerState({ name, traits }: ProviderRow, rows: readonly InventoryRow[]): ProviderState {
  return { name, traits, inventories: Object.fromEntries(rows.map((row) => [row.resource_class, inventoryState(row)])) }
}

function inventoryState({ provider: _, resource_class: __, ...inventory }: InventoryRow): InventoryState {
  return { ...inventory, capacity: capacity(inventory) }
}

/** One object for all hosts of an aggregate: ten thousand of them have few. */
async function aggregatesByName(
  database: Queryable,
  hosts: readonly HostRow[],
): Promise<ReadonlyMap<string, HostAggregate>> {
  const names = [...new Set(hosts.flatMap(({ aggregates }) => aggregates))]
  if (names.length === 0) return new Map()
  const rows = await database.query<HostAggregate>('select name, metadata from aggregates where name = any($1)', [
    names,
  ])
  return new Map(rows.map((row) => [row.name, row]))
}

/** Map.groupBy, which Node has from 21 on. */
function groupBy<T>(rows: readonly T[], key: (row: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>()
  for (const row of rows) {
    const group = groups.get(key(row))
    if (group) group.push(row)
    else groups.set(key(row), [row])
  }
  return groups
}
