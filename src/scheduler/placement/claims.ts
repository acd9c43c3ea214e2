import type { Database, Queryable } from '../../database/database.ts'
import { sqlDetail, sqlState } from '../../database/sql-state.ts'
import { ClaimRefused, StaleAttempt } from '../../errors.ts'
import type { Allocation, Selection } from '../../objects/request-spec.ts'
import { CLAIM_REFUSED_STATE } from './sql-states.ts'

/** Which try of which instance. */
export interface Try {
  readonly instance_uuid: string
  readonly attempt: number
}

/**
 * The claim that this try has already; undefined when it has none and may make one.
 *
 * @throws StaleAttempt
 */
export async function claimOf(database: Queryable, asked: Try): Promise<Selection | undefined> {
  const [consumer] = await database.query<ConsumerRow>(
    `select attempt, void_through, host, report,
            (select coalesce(json_agg(json_strip_nulls(json_build_object(
                                        'provider', a.provider, 'resource_class', a.resource_class,
                                        'amount', a.amount, 'pinned', nullif(a.pinned, false)))
                                      order by a.provider collate "C", a.resource_class collate "C"), '[]')
               from allocations a where a.consumer = consumers.uuid) as allocations
       from consumers where uuid = $1`,
    [asked.instance_uuid],
  )
  if (consumer === undefined) return undefined
  const { attempt, void_through, host, allocations, report } = consumer
  refuseStale(asked, attempt, void_through)
  if (attempt < asked.attempt || host === null || report === null) return undefined
  return { host, attempt, allocations, report }
}

/**
 * Claims `selection` for a try, all of it or nothing. A claim of an earlier try is replaced in the same step; when this
 * try has a claim already (another scheduler was asked too), that one is the answer.
 *
 * @throws ClaimRefused when an inventory would be exceeded; nothing has changed then
 * @throws StaleAttempt
 */
export async function claim(database: Database, instance_uuid: string, selection: Selection): Promise<Selection> {
  const asked = { instance_uuid, attempt: selection.attempt }
  const wanted = { ...selection, allocations: selection.allocations.toSorted(byProviderAndClass) }
  try {
    return await database.transaction(async (tx) => {
      const step = await becomeConsumer(tx, instance_uuid, wanted)
      if (step === 'claimed before') return await claimMade(tx, asked)
      if (step === 'replaces') await giveBack(tx, instance_uuid, wanted.allocations)
      await allocate(tx, instance_uuid, wanted.allocations)
      return wanted
    })
  } catch (error) {
    throw sqlState(error) === CLAIM_REFUSED_STATE ? claimRefused(error, selection.host) : error
  }
}

/**
 * Gives back what a try up to this one has claimed, and voids all of them: a request of theirs that arrives late can
 * claim nothing. Doing it twice is nothing.
 *
 * @returns the host that has its resources back; undefined when there was nothing to give
 */
export async function release(database: Database, { instance_uuid, attempt }: Try): Promise<string | undefined> {
  return database.transaction(async (tx) => {
    const [consumer] = await tx.query<{ attempt: number; host: string | null }>(
      `insert into consumers as c (uuid, attempt, void_through) values ($1, 0, $2)
       on conflict (uuid) do update
          set void_through = greatest(c.void_through, excluded.void_through), changed_at = now()
       returning attempt, host`,
      [instance_uuid, attempt],
    )
    if (consumer === undefined || consumer.host === null || consumer.attempt > attempt) return undefined
    await giveBack(tx, instance_uuid, [])
    await tx.query('update consumers set host = null, report = null where uuid = $1', [instance_uuid])
    return consumer.host
  })
}

interface ConsumerRow {
  readonly attempt: number
  readonly void_through: number
  readonly host: string | null
  readonly report: Selection['report'] | null
  readonly allocations: Allocation[]
}

/** The row of the consumer is locked from here to the end of the transaction: one try at a time. */
async function becomeConsumer(tx: Queryable, uuid: string, { attempt, host, report }: Selection) {
  const [written] = await tx.query<{ replaces: boolean }>(
    // xmax is 0 in a row that was inserted, and names the updating transaction in one that was there.
    `insert into consumers as c (uuid, attempt, host, report) values ($1, $2, $3, $4::jsonb)
     on conflict (uuid) do update
        set attempt = excluded.attempt, host = excluded.host, report = excluded.report, changed_at = now()
      where c.attempt < excluded.attempt and c.void_through < excluded.attempt
     returning (xmax <> 0) as replaces`,
    [uuid, attempt, host, JSON.stringify(report)],
  )
  if (written === undefined) return 'claimed before'
  return written.replaces ? 'replaces' : 'first'
}

/**
 * Removes the consumer's allocations. The inventories of the old ones and of those to come are locked first, in one
 * order for all: else two that change places would wait for each other.
 */
async function giveBack(tx: Queryable, uuid: string, next: readonly Allocation[]): Promise<void> {
  await tx.query(
    `select from inventories
      where (provider, resource_class) in (
        select provider, resource_class from allocations where consumer = $1
        union all
        select provider, resource_class from jsonb_to_recordset($2::jsonb) as n (provider text, resource_class text))
      order by provider collate "C", resource_class collate "C" for no key update`,
    [uuid, JSON.stringify(next)],
  )
  await tx.query('delete from allocations where consumer = $1', [uuid])
}

/** Inserts in one order for all; the trigger on the table counts, and refuses. */
async function allocate(tx: Queryable, uuid: string, allocations: readonly Allocation[]): Promise<void> {
  await tx.query(
    `insert into allocations (consumer, provider, resource_class, amount, pinned)
     select $1, provider, resource_class, amount, coalesce(pinned, false)
       from jsonb_to_recordset($2::jsonb) as n (provider text, resource_class text, amount integer, pinned boolean)
      order by provider collate "C", resource_class collate "C"`,
    [uuid, JSON.stringify(allocations)],
  )
}

/** @throws StaleAttempt when it was not this try that made one */
async function claimMade(tx: Queryable, asked: Try): Promise<Selection> {
  const made = await claimOf(tx, asked)
  if (made === undefined) throw stale(asked, 'its resources were given back')
  return made
}

function byProviderAndClass(a: Allocation, b: Allocation): number {
  if (a.provider !== b.provider) return a.provider < b.provider ? -1 : 1
  return a.resource_class < b.resource_class ? -1 : 1
}

function refuseStale(asked: Try, attempt: number, voidThrough: number): void {
  if (asked.attempt <= voidThrough) throw stale(asked, `tries up to ${voidThrough} were given back`)
  if (asked.attempt < attempt) throw stale(asked, `try ${attempt} came after it`)
}

function stale({ instance_uuid, attempt }: Try, why: string): StaleAttempt {
  return new StaleAttempt(`try ${attempt} of instance ${instance_uuid} is void: ${why}`, {
    instance_uuid,
    attempt,
    fix: 'do nothing: a later try, or a deletion, has taken over',
  })
}

function claimRefused(error: unknown, host: string): ClaimRefused {
  const details = JSON.parse(sqlDetail(error) ?? '{}') as Record<string, unknown>
  return new ClaimRefused((error as Error).message, { host, ...details, fix: 'choose another host' }, { cause: error })
}
