import type { Database } from '../../src/database/database.ts'

/** An inventory as the tables have it. */
export interface InventoryRow {
  readonly provider: string
  readonly resource_class: string
  readonly total: number
  readonly reserved: number
  readonly min_unit: number
  readonly max_unit: number
  readonly step_size: number
  readonly allocation_ratio: number
  readonly used: number
  readonly pinned: number
  readonly offered: boolean
}

export interface AllocationRow {
  readonly consumer: string
  readonly provider: string
  readonly resource_class: string
  readonly amount: number
  readonly pinned: boolean
}

export interface ConsumerRow {
  readonly uuid: string
  readonly attempt: number
  readonly void_through: number
  readonly host: string | null
  /** Of a migration: whose source it holds. */
  readonly instance: string | null
  readonly migration_status: 'open' | 'finished' | 'confirmed' | 'reverted' | 'released' | null
  readonly counted_attempt: number
}

export interface HostRow {
  readonly host: string
  readonly disabled: boolean
  readonly disabled_by: string | null
  readonly failed_builds: number
  readonly forced_down: boolean
  readonly down_since: string | null
  readonly last_seen_up: string
  readonly zone: string
}

export interface ProviderRow {
  readonly name: string
  readonly host: string
  readonly traits: readonly string[]
}

/** All that the scheduler has written, read by SQL of our own. */
export interface Tables {
  readonly inventories: readonly InventoryRow[]
  readonly allocations: readonly AllocationRow[]
  readonly consumers: readonly ConsumerRow[]
  readonly hosts: readonly HostRow[]
  readonly providers: readonly ProviderRow[]
}

export async function readTables(database: Database): Promise<Tables> {
  const [row] = await database.query<{ tables: Tables }>(
    `select json_build_object(
       'inventories', (select coalesce(json_agg(i order by provider, resource_class), '[]') from inventories i),
       'allocations', (select coalesce(json_agg(a), '[]') from allocations a),
       'consumers', (select coalesce(json_agg(json_build_object(
          'uuid', uuid, 'attempt', attempt, 'void_through', void_through, 'host', host, 'instance', instance,
          'migration_status', migration_status, 'counted_attempt', counted_attempt)), '[]') from consumers),
       'hosts', (select coalesce(json_agg(json_build_object(
          'host', host, 'disabled', disabled, 'disabled_by', disabled_by,
          'failed_builds', failed_builds, 'forced_down', forced_down, 'down_since', down_since,
          'last_seen_up', last_seen_up, 'zone', coalesce((
            select g.metadata ->> 'availability_zone' from aggregate_hosts m join aggregates g on g.name = m.aggregate
             where m.host = h.host and g.metadata ? 'availability_zone' limit 1), 'nova')) order by host), '[]')
          from compute_hosts h),
       'providers', (select coalesce(json_agg(json_build_object(
          'name', name, 'host', host,
          'traits', array(select trait from provider_traits t where t.provider = p.name)) order by name), '[]')
          from resource_providers p)) as tables`,
  )
  return (row as { tables: Tables }).tables
}

/** An empty database whose clock is ours: `now()` in every statement, default and trigger is what is set by `setNow`. */
export async function emptyTables(database: Database, migrate: () => Promise<void>): Promise<void> {
  await database.query(`drop schema public cascade; create schema public;
    set search_path = public, pg_catalog;
    create function public.now() returns timestamptz language sql stable as
      $$ select to_timestamp(current_setting('simulation.now_ms')::float8 / 1000) $$;
    set simulation.now_ms = '0'`)
  await migrate()
}

export async function setNow(database: Database, ms: number): Promise<void> {
  await database.query(`set simulation.now_ms = '${ms}'`)
}
