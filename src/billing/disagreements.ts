import type { AuditedPeriod } from './ledger.ts'
import type { UsageFact } from './usage-fact.ts'
import type { UsageRecord } from './usage-records.ts'

/** What the ledger and the periodic `instance.exists` do not agree about, or what only the latter made up for. */
export interface Disagreement {
  readonly kind: 'lost beginning' | 'lost end' | 'not billed' | 'billed otherwise' | 'not seen'
  readonly instance_uuid: string
  readonly text: string
}

/**
 * What is odd about one instance.
 * @param audited the periods that each host has told of: one who is silent about all its instances says nothing of this one
 */
export function disagreements(
  facts: readonly UsageFact[],
  records: readonly UsageRecord[],
  audited: readonly AuditedPeriod[],
): readonly Disagreement[] {
  const exists = facts.filter((fact) => fact.kind === 'exists')
  return [
    ...losses(facts, records),
    ...exists.flatMap((fact) => against(fact, records)),
    ...unseen(exists, records, audited),
  ]
}

function losses(facts: readonly UsageFact[], records: readonly UsageRecord[]): Disagreement[] {
  const [first] = records
  if (first === undefined) return []
  const { instance_uuid } = first
  const lost: Disagreement[] = []
  if (!facts.some(({ kind }) => kind === 'begins'))
    lost.push({ kind: 'lost beginning', instance_uuid, text: `billed from launched_at, ${first.from}` })
  const last = records.at(-1)
  if (last?.to && last.inferred && !facts.some(({ kind }) => kind === 'ends'))
    lost.push({ kind: 'lost end', instance_uuid, text: `billed up to terminated_at, ${last.to}` })
  return lost
}

/** At the end of the period, or of the instance, the ledger must have it as it was seen. */
function against(
  { instance_uuid, at, terminated_at, charged, period }: UsageFact,
  records: readonly UsageRecord[],
): Disagreement[] {
  const seen = terminated_at ?? at
  const record = records.find(({ from, to }) => from < seen && (to === null || seen <= to))
  const when = `in the period to ${period?.ending ?? at}`
  if (record === undefined) {
    return [{ kind: 'not billed', instance_uuid, text: `it was on ${charged.host ?? 'no host'} ${when}` }]
  }
  const told = wordsOf(charged)
  const billed = wordsOf(record)
  const differing = Object.keys(told).filter((word) => told[word] !== billed[word])
  return differing.map((word) => ({
    kind: 'billed otherwise',
    instance_uuid,
    text: `${word} was ${told[word]} ${when}, and is billed as ${billed[word]}`,
  }))
}

function unseen(
  exists: readonly UsageFact[],
  records: readonly UsageRecord[],
  audited: readonly AuditedPeriod[],
): Disagreement[] {
  const told = new Set(exists.map(({ period }) => period?.ending))
  return records.flatMap(({ instance_uuid, host, from, to }) =>
    audited
      .filter((period) => period.host === host && from <= period.beginning && (to === null || to >= period.ending))
      .filter(({ ending }) => !told.has(ending))
      .map(({ ending }) => ({
        kind: 'not seen',
        instance_uuid,
        text: `${host} told of others in the period to ${ending}, and not of it: its end may be lost`,
      })),
  )
}

function wordsOf({ host, flavor, model }: Pick<UsageRecord, 'host' | 'flavor' | 'model'>): Record<string, string> {
  return { host: host ?? 'none', flavor: flavor.name, encryption: model ?? 'none' }
}
