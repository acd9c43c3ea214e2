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
    if (pools.length === 0) return inWords(host.root.name, refusalOf(asked, host))
    const refusals = pools.map((provider) =>
      inWords(nameOf(host.root, provider), refusalOf(asked, host, provider.traits)),
    )
    return refusals.includes(undefined) ? undefined : refusals[0]
  },
}

interface Named {
  readonly name: string
}

function nameOf(root: Named, pool: Named): string {
  return `${root.name} with its pool ${pool.name}`
}

function inWords(who: string, refusal: ReturnType<typeof refusalOf>): string | undefined {
  if (refusal === undefined) return undefined
  const { missing, unwanted } = refusal
  return [
    ...(missing.length > 0 ? [`${who} lacks ${missing.join(', ')}`] : []),
    ...(unwanted.length > 0 ? [`${who} has ${unwanted.join(', ')}, which is forbidden`] : []),
  ].join('; ')
}
