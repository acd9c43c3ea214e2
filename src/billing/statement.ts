import type { Ledger } from './ledger.ts'
import { decimal, type Price, type Pricing, priceOf } from './price.ts'
import type { RateCard } from './rate-card.ts'
import type { UsageFact } from './usage-fact.ts'
import { type Span, type UsageRecord, usageRecords, within } from './usage-records.ts'

/** Everything of one project, flavor and encryption. */
export interface StatementLine {
  readonly project_id: string | null
  readonly flavor: string
  readonly model: string | null
  readonly instances: number
  readonly seconds: number
  /** Null without a rate card, or where it has no price. */
  readonly base: string | null
  readonly surcharge: string | null
  readonly amount: string | null
}

export interface Statement {
  readonly from: string | null
  readonly to: string
  readonly currency: string | null
  readonly lines: readonly StatementLine[]
  readonly total: string | null
  /** Records whose beginning or end was never told by its own notification. */
  readonly inferred: number
  /** What the rate card lacks: use of it is in no amount. */
  readonly unpriced: readonly string[]
}

export interface StatementOptions {
  readonly span: Span
  readonly card: RateCard | undefined
  readonly project?: string | undefined
  /** Called with every usage record, and with its amounts, of which the lines are the sums. */
  readonly each?: ((record: UsageRecord, amounts: Amounts) => Promise<void>) | undefined
}

/** Decimals of the currency; null where there is no price. */
export interface Amounts {
  readonly base: string | null
  readonly surcharge: string | null
  readonly amount: string | null
}

interface Sum {
  readonly of: Pick<StatementLine, 'project_id' | 'flavor' | 'model'>
  instances: number
  seconds: number
  base: bigint
  surcharge: bigint
  isPriced: boolean
}

/** Goes through the whole ledger once; what it holds in memory grows with projects and flavors, not with instances. */
export async function statementOf(
  ledger: Pick<Ledger, 'instances'>,
  { span, card, project, each }: StatementOptions,
): Promise<Statement> {
  const sums = new Map<string, Sum>()
  const unpriced = new Set<string>()
  let inferred = 0
  const charged = (record: UsageRecord, sum: Sum): Amounts => {
    sum.seconds += record.seconds
    if (record.inferred) inferred += 1
    const price = card && priceOf(record, card)
    if (price !== undefined && 'missing' in price) unpriced.add(price.missing)
    return charge(sum, price, card)
  }
  for await (const { facts } of ledger.instances()) {
    const records = recordsIn(facts, span, project)
    for (const sum of new Set(records.map((record) => sumOf(sums, record)))) sum.instances += 1
    for (const record of records) {
      const amounts = charged(record, sumOf(sums, record))
      if (each !== undefined) await each(record, amounts)
    }
  }
  const lines = [...sums.values()].map((sum) => lineOf(sum, card)).sort(byProject)
  const total = [...sums.values()].reduce((all, { base, surcharge }) => all + base + surcharge, 0n)
  return {
    ...span,
    currency: card?.currency ?? null,
    lines,
    total: card === undefined ? null : decimal(total, card.decimals),
    inferred,
    unpriced: [...unpriced].sort(),
  }
}

function recordsIn(facts: readonly UsageFact[], span: Span, project: string | undefined): readonly UsageRecord[] {
  return usageRecords(facts)
    .filter(({ project_id }) => project === undefined || project_id === project)
    .flatMap((record) => within(record, span) ?? [])
}

function sumOf(sums: Map<string, Sum>, { project_id, flavor, model }: UsageRecord): Sum {
  const key = JSON.stringify([project_id, flavor.name, model])
  const known = sums.get(key)
  if (known !== undefined) return known
  const of = { project_id, flavor: flavor.name, model }
  const sum = { of, instances: 0, seconds: 0, base: 0n, surcharge: 0n, isPriced: true }
  sums.set(key, sum)
  return sum
}

function charge(sum: Sum, price: Pricing | undefined, card: RateCard | undefined): Amounts {
  if (card === undefined || price === undefined || 'missing' in price) {
    sum.isPriced = false
    return NO_AMOUNTS
  }
  sum.base += price.base
  sum.surcharge += price.surcharge
  return amountsOf(price, card)
}

const NO_AMOUNTS: Amounts = { base: null, surcharge: null, amount: null }

function amountsOf({ base, surcharge }: Price, { decimals }: RateCard): Amounts {
  const [b, s, amount] = [base, surcharge, base + surcharge].map((value) => decimal(value, decimals))
  return { base: b as string, surcharge: s as string, amount: amount as string }
}

function lineOf(sum: Sum, card: RateCard | undefined): StatementLine {
  const amounts = card !== undefined && sum.isPriced ? amountsOf(sum, card) : NO_AMOUNTS
  return { ...sum.of, instances: sum.instances, seconds: sum.seconds, ...amounts }
}

function byProject(a: StatementLine, b: StatementLine): number {
  const key = ({ project_id, flavor, model }: StatementLine) => JSON.stringify([project_id ?? '', flavor, model ?? ''])
  return key(a) < key(b) ? -1 : 1
}
