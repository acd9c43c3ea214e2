import { jsonArray, plainArray, textArray } from '../../database/array-literal.ts'
import type { Database, Queryable } from '../../database/database.ts'
import { retryTransaction } from '../../database/transactions.ts'
import { ClaimRefused, StaleAttempt } from '../../errors.ts'
import type { Allocation, Migration, Selection } from '../../objects/request-spec.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import type { Telling } from '../telling.ts'
import { claimAndTell } from './told-claims.ts'

/** Hosts by name that a claim's reasons keep. */
const KEPT = 3

/** Which try of which instance. */
export interface Try {
  readonly instance_uuid: string
  readonly attempt: number
  /** The move that the try belongs to. */
  readonly migration?: Migration | undefined
}

/** What an instance is to have. */
export interface Claim {
  readonly instance_uuid: string
  readonly selection: Selection
  /** What it has goes over to this, in the same step. */
  readonly migration?: Migration | undefined
  /** Of a rebuild: what it has when that is over, and until then the selection. */
  readonly becomes?: readonly Allocation[] | undefined
  /** Who is told of it when it is granted. */
  readonly told?: readonly DurableMessage[] | undefined
}

/** An inventory right after a claim: what the scheduler's memory is set to. */
export interface InventoryUse {
  readonly provider: string
  readonly resource_class: string
  readonly used: number
  readonly pinned: number
  readonly version: number
}

export interface Claimed {
  /** As asked; or what this try had claimed before, when another scheduler was asked too. */
  readonly selection: Selection
  /** False: this try had its claim before, and nothing was taken now. */
  readonly isNew: boolean
  /** Of this host, with all claims that went together. */
  readonly inventories: readonly InventoryUse[]
}

/** The outcome of one claim of a group: how it ended, or the typed refusal. */
export type ClaimOutcome = Claimed | ClaimRefused | StaleAttempt

interface GroupOutcome {
  readonly claimed: readonly string[]
  readonly refused: readonly {
    readonly uuid: string
    readonly message: string
    readonly detail: Readonly<Record<string, unknown>>
  }[]
  // Of the inventories that the claims name, in that order; null: there is none.
  readonly used: readonly (number | null)[]
  readonly pinned: readonly (number | null)[]
  readonly versions: readonly (number | null)[]
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

interface GroupOptions {
  readonly allOrNothing?: boolean
  /** Where what is told of claims is stored. */
  readonly telling?: Telling | undefined
}

/**
 * Claims for many instances, one claim each, in one statement and one commit. Each is granted or refused by itself;
 * with `allOrNothing` none is granted when one is refused. A claim of an earlier try is replaced in the same step.
 *
 * @returns an outcome for each, in their order
 */
export async function claimGroup(
  database: Database,
  claims: readonly Claim[],
  { allOrNothing = false, telling }: GroupOptions = {},
): Promise<readonly ClaimOutcome[]> {
  const moves = claims.flatMap(({ instance_uuid, selection: { attempt }, migration, becomes }) =>
    migration ? [{ uuid: instance_uuid, attempt, migration: migration.uuid, type: migration.type, becomes }] : [],
  )
  const taken = claims.flatMap(({ instance_uuid, selection: { host, allocations } }) =>
    allocations.map((allocation) => ({ instance_uuid, host, ...allocation })),
  )
  const told = new Map(
    claims.flatMap(({ instance_uuid, told = [] }) => (told.length > 0 ? [[instance_uuid, told] as const] : [])),
  )
  const outcome = await retryTransaction(() =>
    claimAndTell<GroupOutcome>(
      database,
      [
        textArray(claims.map(({ instance_uuid }) => instance_uuid)),
        plainArray(claims.map(({ selection }) => selection.attempt)),
        textArray(claims.map(({ selection }) => selection.host)),
        jsonArray(claims.map(({ selection }) => brief(selection.report))),
        textArray(taken.map(({ instance_uuid }) => instance_uuid)),
        textArray(taken.map(({ provider }) => provider)),
        textArray(taken.map(({ resource_class }) => resource_class)),
        plainArray(taken.map(({ amount }) => amount)),
        plainArray(taken.map(({ pinned }) => pinned ?? false)),
        moves.length > 0 ? JSON.stringify(moves) : null,
        allOrNothing,
      ],
      told,
      telling,
    ),
  )
  const granted = new Set(outcome.claimed)
  const refusals = new Map(outcome.refused.map((refusal) => [refusal.uuid, refusal]))
  const uses = usesByHost(taken, outcome)
  return Promise.all(
    claims.map((claim) => {
      const inventories = uses.get(claim.selection.host) ?? []
      if (granted.has(claim.instance_uuid)) return { selection: inOrder(claim.selection), isNew: true, inventories }
      const refusal = refusals.get(claim.instance_uuid)
      return refusal ? claimRefused(refusal, claim.selection.host) : madeBefore(database, claim, inventories)
    }),
  )
}

/** @param taken in the order in which the outcome tells of their inventories */
function usesByHost(
  taken: readonly (Pick<Allocation, 'provider' | 'resource_class'> & { readonly host: string })[],
  { used, pinned, versions }: GroupOutcome,
): ReadonlyMap<string, readonly InventoryUse[]> {
  const uses = new Map<string, InventoryUse[]>()
  for (const [n, { host, provider, resource_class }] of taken.entries()) {
    const version = versions[n]
    // There is no such inventory.
    if (version === null || version === undefined) continue
    const use = { provider, resource_class, used: used[n] as number, pinned: pinned[n] as number, version }
    const others = uses.get(host)
    if (others) others.push(use)
    else uses.set(host, [use])
  }
  return uses
}

/**
 * Gives back what tries up to these have claimed, and voids all of them: a request of theirs that arrives late can
 * claim nothing. Doing it twice is nothing.
 *
 * @returns for each the host that has its resources back; undefined when there was nothing to give
 */
export async function releaseGroup(
  database: Database,
  releases: readonly Try[],
): Promise<readonly (string | undefined)[]> {
  const [row] = await retryTransaction(() =>
    database.query<{ hosts: Record<string, string> }>('select release_group($1) as hosts', [
      JSON.stringify(releases.map(({ instance_uuid, attempt }) => ({ uuid: instance_uuid, attempt }))),
    ]),
  )
  return releases.map(({ instance_uuid }) => row?.hosts[instance_uuid])
}

interface ConsumerRow {
  readonly uuid: string
  readonly attempt: number
  readonly void_through: number
  readonly host: string | null
  readonly report: Selection['report'] | null
  readonly allocations: Allocation[]
}

/** What is kept for whoever asks again: the whole of it is ten times what the rest of a claim is. */
function brief(report: Selection['report']): Selection['report'] {
  return { ...report, rejections: report.rejections.slice(0, KEPT), ranking: report.ranking.slice(0, KEPT) }
}

/** It was not granted and not refused: this try has a claim already, or is void. */
async function madeBefore(
  database: Queryable,
  { instance_uuid, selection: { attempt }, migration }: Claim,
  inventories: readonly InventoryUse[],
): Promise<Claimed | StaleAttempt> {
  const asked = { instance_uuid, attempt, migration }
  try {
    const selection = await claimOf(database, asked)
    return selection ? { selection, isNew: false, inventories } : stale(asked, 'its resources were given back')
  } catch (error) {
    if (error instanceof StaleAttempt) return error
    throw error
  }
}

/** As the database gives it back. */
function inOrder(selection: Selection): Selection {
  return { ...selection, allocations: selection.allocations.toSorted(byProviderAndClass) }
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

function claimRefused({ message, detail }: GroupOutcome['refused'][number], host: string): ClaimRefused {
  return new ClaimRefused(message, { host, ...detail, fix: 'choose another host' })
}
