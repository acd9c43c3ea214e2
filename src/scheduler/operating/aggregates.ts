import { isDeepStrictEqual } from 'node:util'
import type { Database, Queryable } from '../../database/database.ts'
import { AggregateNameExists, AggregateNotFound, InvalidAggregateAction } from '../../errors.ts'
import type { AggregateAction, OperatingEvents, StoredAggregate } from '../../notifications/operating-events.ts'
import { type Aggregate, MAX_METADATA_KEYS } from '../../objects/aggregate.ts'
import { AVAILABILITY_ZONE } from '../../objects/availability-zone.ts'
import { few } from '../few.ts'
import type { Told } from '../telling.ts'
import { hostNotFound } from './host-settings.ts'

const DESCRIBED = `a.name, a.metadata,
  array(select g.host from aggregate_hosts g where g.aggregate = a.name order by g.host collate "C") as hosts`

/** By name; all of them when none is named. */
export async function listAggregates(database: Queryable, names?: readonly string[]): Promise<readonly Aggregate[]> {
  return database.query<Aggregate>(
    `select ${DESCRIBED} from aggregates a where $1::text[] is null or a.name = any($1) order by a.name collate "C"`,
    [names === undefined ? null : [...names]],
  )
}

/** @throws AggregateNameExists, ComputeHostNotFound, InvalidAggregateAction */
export async function createAggregate(
  database: Database,
  { name, metadata, hosts }: Aggregate,
  told?: Told,
): Promise<Aggregate> {
  return database.transaction(async (tx) => {
    const [made] = await tx.query(
      `insert into aggregates (name, metadata) values ($1, $2::jsonb) on conflict (name) do nothing returning name`,
      [name, JSON.stringify(metadata)],
    )
    if (made === undefined) {
      throw new AggregateNameExists(`an aggregate is called ${name} already`, {
        name,
        fix: 'choose another name, or change that one: sevbus aggregate set',
      })
    }
    const empty = await aggregate(tx, name)
    await tell(tx, told, 'create', { uuid: empty.uuid, name, metadata }, empty)
    await putHosts(tx, name, hosts)
    const after = await aggregate(tx, name)
    // One after the other, as Nova's operators do it.
    for (const [n] of after.hosts.entries()) {
      const [without, withIt] = [n, n + 1].map((count) => ({ ...after, hosts: after.hosts.slice(0, count) }))
      await tell(tx, told, 'add_host', without as StoredAggregate, withIt as StoredAggregate)
    }
    return asAnswered(after)
  })
}

/**
 * Keys that are named get the value, or go where it is null; others stay as they are.
 *
 * @throws AggregateNotFound, InvalidAggregateAction
 */
export async function setAggregate(
  database: Database,
  name: string,
  metadata: Readonly<Record<string, string | null>>,
  told?: Told,
): Promise<Aggregate> {
  return change(database, name, 'update_metadata', told, async (tx) => {
    await tx.query(`update aggregates set metadata = jsonb_strip_nulls(metadata || $2::jsonb) where name = $1`, [
      name,
      JSON.stringify(metadata),
    ])
    const changed = await aggregate(tx, name)
    refuseTooMany(changed)
    await lockHosts(tx, changed.hosts)
    await refuseSecondZone(tx, name)
  })
}

function refuseTooMany({ name, metadata }: Aggregate): void {
  const keys = Object.keys(metadata).length
  if (keys <= MAX_METADATA_KEYS) return
  throw new InvalidAggregateAction(
    `aggregate ${name} would have ${keys} keys, at most ${MAX_METADATA_KEYS} are taken`,
    {
      name,
      keys,
      fix: 'remove keys that nobody reads: sevbus aggregate set NAME --unset KEY',
    },
  )
}

/** One that is in it already stays. @throws AggregateNotFound, ComputeHostNotFound, InvalidAggregateAction */
export async function addHost(database: Database, name: string, host: string, told?: Told): Promise<Aggregate> {
  return change(database, name, 'add_host', told, (tx) => putHosts(tx, name, [host]))
}

/** One that is not in it is out of it. @throws AggregateNotFound */
export async function removeHost(database: Database, name: string, host: string, told?: Told): Promise<Aggregate> {
  return change(database, name, 'remove_host', told, async (tx) => {
    await tx.query('delete from aggregate_hosts where aggregate = $1 and host = $2', [name, host])
  })
}

/** @throws AggregateNotFound, InvalidAggregateAction while it has hosts, as in Nova */
export async function deleteAggregate(database: Database, name: string, told?: Told): Promise<void> {
  await database.transaction(async (tx) => {
    await lockAggregate(tx, name)
    const last = await aggregate(tx, name)
    const { hosts } = last
    if (hosts.length > 0) {
      throw new InvalidAggregateAction(`aggregate ${name} has hosts still: ${few(hosts)}`, {
        name,
        hosts: hosts.slice(0, 20),
        fix: 'take them out first: sevbus aggregate remove-host',
      })
    }
    await tx.query('delete from aggregates where name = $1', [name])
    await tell(tx, told, 'delete', last, last)
  })
}

/** What changes nothing is not told. */
async function change(
  database: Database,
  name: string,
  action: AggregateAction,
  told: Told,
  work: (tx: Queryable) => Promise<void>,
): Promise<Aggregate> {
  return database.transaction(async (tx) => {
    await lockAggregate(tx, name)
    const before = await aggregate(tx, name)
    await work(tx)
    const after = await aggregate(tx, name)
    if (!isDeepStrictEqual(before, after)) await tell(tx, told, action, before, after)
    return asAnswered(after)
  })
}

async function tell(
  tx: Queryable,
  told: Told,
  action: AggregateAction,
  before: Parameters<OperatingEvents['aggregate']>[2],
  after: StoredAggregate,
): Promise<void> {
  if (told === undefined) return
  const { telling, context } = told
  await telling.enqueue(tx, telling.events.aggregate(action, context, before, after))
}

/** Nobody else changes it until the transaction ends. Aggregates are locked before hosts, by everybody. */
async function lockAggregate(tx: Queryable, name: string): Promise<void> {
  const [found] = await tx.query('select from aggregates where name = $1 for update', [name])
  if (found !== undefined) return
  throw new AggregateNotFound(`no aggregate is called ${name}`, {
    name,
    fix: 'see their names with: sevbus aggregate list',
  })
}

async function aggregate(tx: Queryable, name: string): Promise<StoredAggregate> {
  const [found] = await tx.query<StoredAggregate>(
    `select a.id, a.uuid, ${DESCRIBED} from aggregates a where a.name = $1`,
    [name],
  )
  return found as StoredAggregate
}

function asAnswered({ name, metadata, hosts }: StoredAggregate): Aggregate {
  return { name, metadata, hosts }
}

async function putHosts(tx: Queryable, name: string, hosts: readonly string[]): Promise<void> {
  await lockHosts(tx, hosts)
  await tx.query(
    `insert into aggregate_hosts (aggregate, host) select $1, host from unnest($2::text[]) as host
     on conflict do nothing`,
    [name, [...hosts]],
  )
  await refuseSecondZone(tx, name)
}

/** What becomes of a host's aggregates is decided by one at a time, in one order. @throws ComputeHostNotFound */
async function lockHosts(tx: Queryable, hosts: readonly string[]): Promise<void> {
  const rows = await tx.query<{ host: string }>(
    'select host from compute_hosts where host = any($1) order by host collate "C" for no key update',
    [[...hosts]],
  )
  const there = new Set(rows.map(({ host }) => host))
  const missing = hosts.find((host) => !there.has(host))
  if (missing !== undefined) throw hostNotFound(missing)
}

/** A host is in one zone: which of two would decide is nobody's guess. */
async function refuseSecondZone(tx: Queryable, name: string): Promise<void> {
  const [clash] = await tx.query<{ host: string; other: string; zone: string; other_zone: string }>(
    `select mine.host, theirs.aggregate as other, a.metadata ->> '${AVAILABILITY_ZONE}' as zone,
            b.metadata ->> '${AVAILABILITY_ZONE}' as other_zone
       from aggregates a
       join aggregate_hosts mine on mine.aggregate = a.name
       join aggregate_hosts theirs on theirs.host = mine.host and theirs.aggregate <> a.name
       join aggregates b on b.name = theirs.aggregate
      where a.name = $1 and a.metadata ->> '${AVAILABILITY_ZONE}' <> b.metadata ->> '${AVAILABILITY_ZONE}'
      order by mine.host collate "C", theirs.aggregate collate "C" limit 1`,
    [name],
  )
  if (clash === undefined) return
  const { host, other, zone, other_zone } = clash
  throw new InvalidAggregateAction(
    `host ${host} would be in two zones: ${zone} by aggregate ${name}, ${other_zone} by aggregate ${other}`,
    { name, host, zone, other_aggregate: other, other_zone, fix: `take ${host} out of one of them first` },
  )
}
