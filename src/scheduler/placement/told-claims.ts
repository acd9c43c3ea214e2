import type { Queryable } from '../../database/database.ts'
import { kept } from '../../database/kept-statement.ts'
import { type StoredAs, takenAtOnce, toStore } from '../../database/outbox.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import type { Telling } from '../telling.ts'

const CLAIM = 'claim_group($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)'
const CLAIM_ALONE = kept(`select ${CLAIM} as outcome`)

/** Of the claims that are granted, and of no others, and in the same statement. */
const CLAIM_AND_TELL = kept(`
  with made as materialized (select ${CLAIM} as outcome)
  select outcome, outbox_put($14, $12::jsonb, $13, $15, 0,
           array(select uuid::uuid from json_array_elements_text(made.outcome -> 'claimed') as uuid)) as stored
    from made`)

/**
 * Claims for a group, and stores what is told of those that are granted: what they say is true, or was never said. Where
 * nothing is to be told, it is the claims' statement alone.
 *
 * @param told by the instance's uuid
 */
export async function claimAndTell<Outcome extends { readonly claimed: readonly string[] }>(
  database: Queryable,
  claims: readonly unknown[],
  told: ReadonlyMap<string, readonly DurableMessage[]>,
  telling: Telling | undefined,
): Promise<Outcome> {
  if (telling === undefined || told.size === 0) {
    const [row] = await database.query<{ outcome: Outcome }>(CLAIM_ALONE, claims)
    return (row as { outcome: Outcome }).outcome
  }
  const { owner, leaseMs } = telling.storing
  const messages = toStore(
    [...told.values()].flat(),
    [...told].flatMap(([uuid, ofClaim]) => ofClaim.map(() => uuid)),
  )
  const [row] = await database.query<{ outcome: Outcome; stored: readonly StoredAs[] | null }>(CLAIM_AND_TELL, [
    ...claims,
    ...messages,
    owner,
    leaseMs,
  ])
  const { outcome, stored } = row as { outcome: Outcome; stored: readonly StoredAs[] | null }
  const granted = new Set(outcome.claimed)
  const kept = [...told].flatMap(([uuid, ofClaim]) => (granted.has(uuid) ? ofClaim : []))
  const taken = takenAtOnce(kept, stored ?? [])
  telling.offer(taken)
  if (taken.length < kept.length) telling.announce()
  return outcome
}
