import type { HostState } from '../host-state.ts'
import type { InventoryUse } from '../placement/claim.ts'
import type { Claim } from './claimed-state.ts'
import { withUse } from './host-use.ts'

interface News {
  /** In the table's count of them. */
  readonly toldAt: number
  readonly use: InventoryUse
}

/** One host in memory, and what is on its way there. */
export interface Place {
  /** As it was read, all of it at one moment. */
  read: HostState
  /** With what ends of claims have told since: as the database is known to have it. */
  base: HostState
  /** With what is on its way. */
  state: HostState
  readonly claims: Set<Claim>
  /** When a claim ended last, in the table's count of such news. */
  toldAt: number
  /** What ends of claims have told since the last reading began, by provider and class. */
  readonly news: Map<string, News>
  /** By the same count, when the reading began that the base comes from. */
  readFrom: number
}

/** Keeps what the end of a claim has told for the reading that is under way, if one is. */
export function noteNews({ news, toldAt }: Place, uses: readonly InventoryUse[]): void {
  for (const use of uses) news.set(`${use.provider} ${use.resource_class}`, { toldAt, use })
}

/** What was told before a reading began is in what was read, or was there before. */
export function forgetNews({ news }: Place, told: number): void {
  for (const [key, { toldAt }] of news) if (toldAt <= told) news.delete(key)
}

/**
 * A host as it was read, but for what claims that ended after the reading had begun have told and it has not: they may have
 * told sooner. What was told before that does not count, whatever its version.
 */
export function withNews(read: HostState, { news, base }: Place, told: number): HostState {
  const since = [...news.values()].filter(({ toldAt }) => toldAt > told)
  const now = withUse(
    read,
    since.map(({ use }) => use),
  )
  return now === read ? read : { ...now, instances: base.instances }
}

/**
 * The host with a claim that was made.
 *
 * @param isRead the host was read since the claim began: what tells nothing new then has been read with it
 */
export function madeWith(base: HostState, uses: readonly InventoryUse[], isRead: boolean): HostState {
  const told = withUse(base, uses)
  // Of claims that went together the first tells what all of them use; each is an instance.
  return told === base && isRead ? base : { ...told, instances: base.instances + 1 }
}
