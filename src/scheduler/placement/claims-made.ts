import type { Queryable } from '../../database/database.ts'
import type { Allocation, Selection } from '../../objects/request-spec.ts'
import { stale, type Try } from './claim.ts'

interface ConsumerRow {
  readonly uuid: string
  readonly attempt: number
  readonly void_through: number
  readonly host: string | null
  readonly report: Selection['report'] | null
  readonly allocations: Allocation[]
}

/**
 * The claims that these tries have already, of one moment, by instance; those that have none are left out.
 */
export async function claimsOf(database: Queryable, asked: readonly Try[]): Promise<ReadonlyMap<string, Selection>> {
  const consumers = await readConsumers(database, asked)
  const tries = new Map(asked.map((one) => [one.instance_uuid.toLowerCase(), one]))
  return new Map(
    consumers.flatMap((consumer) => {
      const one = tries.get(consumer.uuid)
      const made = one && madeBy(consumer, one)
      return made ? [[one.instance_uuid, made]] : []
    }),
  )
}

/**
 * The claim that this try has already; undefined when it has none and may make one.
 *
 * @throws StaleAttempt
 */
export async function claimOf(database: Queryable, asked: Try): Promise<Selection | undefined> {
  const [consumer] = await readConsumers(database, [asked])
  if (consumer === undefined) return refuseOver(database, asked)
  // A move that was reverted has left the source's try below tries that were given up.
  const made = madeBy(consumer, asked)
  if (made !== undefined) return made
  refuseStale(asked, consumer.attempt, consumer.void_through)
  return refuseOver(database, asked)
}

const ALLOCATIONS = `
  (select coalesce(json_agg(json_strip_nulls(json_build_object(
                              'provider', a.provider, 'resource_class', a.resource_class,
                              'amount', a.amount, 'pinned', nullif(a.pinned, false)))
                            order by a.provider collate "C", a.resource_class collate "C"), '[]')
     from allocations a where a.consumer = consumers.uuid)`

/** All that an instance has, whatever for; undefined: nothing. */
export async function heldBy(
  database: Queryable,
  instanceUuid: string,
): Promise<Pick<Selection, 'host' | 'allocations'> | undefined> {
  const [row] = await database.query<Pick<Selection, 'host' | 'allocations'>>(
    `select host, ${ALLOCATIONS} as allocations from consumers
      where uuid = $1 and instance is null and host is not null`,
    [instanceUuid],
  )
  return row
}

/** Of a rebuild that is not over it is what that is to have. */
function readConsumers(database: Queryable, asked: readonly Try[]): Promise<readonly ConsumerRow[]> {
  return database.query<ConsumerRow>(
    `select uuid, attempt, void_through, host, report,
            coalesce(
              (select m.becomes from consumers m
                where m.instance = consumers.uuid and m.migration_status = 'open' and m.migration_type = 'rebuild'),
              ${ALLOCATIONS}) as allocations
       from consumers where uuid = any($1::uuid[]) and instance is null`,
    [asked.map(({ instance_uuid }) => instance_uuid)],
  )
}

function madeBy({ attempt, host, allocations, report }: ConsumerRow, asked: Try): Selection | undefined {
  if (attempt !== asked.attempt || host === null || report === null) return undefined
  return { host, attempt, allocations, report }
}

/** @throws StaleAttempt when the move that the try belongs to cannot claim any more, or not yet */
async function refuseOver(database: Queryable, asked: Try): Promise<undefined> {
  if (asked.migration === undefined) return
  const { uuid } = asked.migration
  const [own] = await database.query<{ instance: string | null; migration_status: string | null }>(
    'select instance, migration_status from consumers where uuid = $1',
    [uuid],
  )
  if (own !== undefined && own.instance !== asked.instance_uuid.toLowerCase()) {
    throw stale(asked, `migration ${uuid} is not its own`)
  }
  if (own !== undefined && own.migration_status !== 'open') {
    throw stale(asked, `migration ${uuid} is ${own.migration_status}`)
  }
  const [other] = await database.query<{ uuid: string }>(
    `select uuid from consumers where instance = $1 and migration_status = 'open' and uuid <> $2`,
    [asked.instance_uuid, uuid],
  )
  if (other) throw stale(asked, `migration ${other.uuid} must be confirmed or reverted first`)
}

function refuseStale(asked: Try, attempt: number, voidThrough: number): void {
  if (asked.attempt <= voidThrough) throw stale(asked, `tries up to ${voidThrough} were given back`)
  if (asked.attempt < attempt) throw stale(asked, `try ${attempt} came after it`)
}
