import type { z } from 'zod'
import type { KnownTry, Termination } from './journal/state.ts'
import type { ComputeApi } from './rpc-api.ts'

export type TerminateArgs = z.output<(typeof ComputeApi)['methods']['terminateInstance']['input']>

/**
 * When the termination that is asked for ended, if it has. Of a guest that an instance has left, any end is one: what came
 * later to this host has been removed as well.
 */
export function endOf(known: KnownTry | undefined, { instance, migration_uuid, void: isVoid }: TerminateArgs) {
  if (known === undefined) return undefined
  // Removed before the earlier one became the instance again, which it must not take along.
  if (
    migration_uuid !== undefined &&
    instance.attempt !== known.attempt &&
    instance.attempt <= (known.overThrough ?? 0)
  ) {
    return instance.updated_at
  }
  const ended = known.terminated
  if (ended === undefined) return undefined
  if (migration_uuid !== undefined) return known.attempt >= instance.attempt ? ended.at : undefined
  return known.attempt === instance.attempt && (isVoid || !ended.void) ? ended.at : undefined
}

/** Something later was here, or it went back from that try to the one that is here. */
export function isOver({ attempt: last, overThrough = 0 }: KnownTry, attempt: number): boolean {
  return attempt <= Math.max(last, overThrough)
}

/** Nothing of that try was ever here, and the guest of an earlier one is. */
export function wasRefused({ attempt: last, refusedThrough = 0 }: KnownTry, attempt: number): boolean {
  return attempt > last && attempt <= refusedThrough
}

/** Does the termination that is under way tell all that this one has to tell? */
export function covers(
  pending: Termination | undefined,
  { instance, migration_uuid, void: isVoid }: TerminateArgs,
): boolean {
  if (pending?.instance.attempt !== instance.attempt) return false
  return (isVoid || !pending.void) && (migration_uuid === undefined || pending.migration_uuid === migration_uuid)
}
