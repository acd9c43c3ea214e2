import type { Gap } from '../notifications/replay.ts'
import { type Disagreement, disagreements } from './disagreements.ts'
import type { Ledger, SharedId } from './ledger.ts'
import { usageOf } from './usage-records.ts'

export interface LedgerCheck {
  readonly auditedPeriods: number
  readonly disagreements: readonly Disagreement[]
  readonly sharedIds: readonly SharedId[]
  readonly unread: Awaited<ReturnType<Ledger['unread']>>
  /** Notifications that nobody has any more. */
  readonly lost: readonly Gap[]
  /** Whose numbers conductors have given twice. */
  readonly countedBack: Awaited<ReturnType<Ledger['followed']['countedBack']>>
}

/** What is odd in the ledger; one instance in memory at a time. */
export async function checkLedger(ledger: Ledger): Promise<LedgerCheck> {
  const audited = await ledger.auditedPeriods()
  const found: Disagreement[] = []
  for await (const { facts } of ledger.instances()) found.push(...disagreements(facts, usageOf(facts), audited))
  return {
    auditedPeriods: audited.length,
    disagreements: found,
    sharedIds: await ledger.sharedIds(),
    unread: await ledger.unread(),
    lost: await ledger.followed.lostEvents(),
    countedBack: await ledger.followed.countedBack(),
  }
}
