import { ClaimRefused } from '../../src/errors.ts'
import type { Placement } from '../../src/scheduler/placement/placement.ts'
import { overriding } from './scheduler-process.ts'

/** Faults put in on purpose: each is one that the simulation must find. */
export const SABOTEURS: Readonly<Record<string, (placement: Placement) => Placement>> = {
  /** Tells that a claim was made which the database has refused. */
  'no-refusal': (placement) =>
    overriding(placement, {
      grant: async (claim) => {
        try {
          return await placement.grant(claim)
        } catch (error) {
          if (error instanceof ClaimRefused) return { selection: claim.selection, isNew: true, inventories: [] }
          throw error
        }
      },
    }),
  /** Reads the hosts at its start, and never hears of what changes. */
  'stale-memory': (placement) =>
    overriding(placement, {
      changesSince: async (cursor) => {
        if (cursor === undefined) return placement.changesSince()
        return { cursor, hosts: [], uses: [], removed: [], complete: false }
      },
    }),
  /** Lets those who move go without what they come from. */
  'no-hold': (placement) => overriding(placement, { grant: ({ migration: _, ...claim }) => placement.grant(claim) }),
  /** Claims for the first of a batch, and tells that it has claimed for all. */
  'half-a-batch': (placement) =>
    overriding(placement, {
      claimAll: async (claims) => {
        const [first] = await placement.claimAll(claims.slice(0, 1))
        if (first === undefined || !('selection' in first)) return first ? claims.map(() => first) : []
        return claims.map(({ selection }) => ({ ...first, selection }))
      },
    }),
  /** Gives nothing back. */
  'no-release': (placement) => overriding(placement, { release: async () => undefined }),
  /** Declares all hosts dead at its first look. */
  'dead-fleet': (placement) =>
    overriding(placement, {
      hostsSeen: async (since) => {
        const seen = await placement.hostsSeen(since)
        await placement.noteDown(seen.map(({ host }) => host))
        return seen
      },
    }),
}
