import { plainArray, Texts, textArray } from '../../database/array-literal.ts'
import type { Database, Queryable } from '../../database/database.ts'
import { retryTransaction } from '../../database/transactions.ts'
import { ClaimRefused, StaleAttempt } from '../../errors.ts'
import type { Allocation, Selection } from '../../objects/request-spec.ts'
import type { Telling } from '../telling.ts'
import { type Claim, type Claimed, type ClaimOutcome, type InventoryUse, stale } from './claim.ts'
import { claimOf } from './claims-made.ts'
import { claimAndTell } from './told-claims.ts'

/** Hosts by name that a claim's reasons keep. */
const KEPT = 3

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
        new Texts(claims.map(({ selection }) => JSON.stringify(brief(selection.report)))),
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

function claimRefused({ message, detail }: GroupOutcome['refused'][number], host: string): ClaimRefused {
  return new ClaimRefused(message, { host, ...detail, fix: 'choose another host' })
}
