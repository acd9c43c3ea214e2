import { poolsWithTrait, refusalOf } from '../host-state.ts'
import type { HostFilter } from './host-filter.ts'

/**
 * Drops hosts without the traits that flavor or image require, or with one that they forbid. It counts what the host
 * itself has and, of an encrypted guest, the pool that gives the slot.
 */
export const traits: HostFilter = {
  name: 'Traits',
  fix: 'give the trait to hosts that have what it means (compute.traits), or take another flavor or image',
  reject: (host, { resources: { pool, traits: asked } }) => {
    if (asked === undefined) return undefined
    const pools = pool === undefined ? [] : poolsWithTrait(host, pool.trait)
    if (pools.length === 0) return inWords(refusalOf(asked, host))
    const refusals = pools.map(({ name, traits: ofPool }) => inWords(refusalOf(asked, host, ofPool), name))
    return refusals.includes(undefined) ? undefined : refusals[0]
  },
}

function inWords(refusal: ReturnType<typeof refusalOf>, pool?: string): string | undefined {
  if (refusal === undefined) return undefined
  const { missing, unwanted } = refusal
  const [lacks, has] =
    pool === undefined ? ['lacks', 'has'] : [`with its pool ${pool} lacks`, `with its pool ${pool} has`]
  return [
    ...(missing.length > 0 ? [`${lacks} ${missing.join(', ')}`] : []),
    ...(unwanted.length > 0 ? [`${has} ${unwanted.join(', ')}, which is forbidden`] : []),
  ].join('; ')
}
