import type { AuditedPeriod } from './audited-period.ts'
import type { Charged, UsageFact } from './usage-fact.ts'
import type { Usage, UsageRecord } from './usage-records.ts'

/** A host's clock may be a minute off before anybody is warned, that of another as much the other way. */
const CLOCKS_DIFFER_MS = 120_000

/** What the ledger and the periodic `instance.exists` do not agree about, or what only the latter made up for. */
export interface Disagreement {
  readonly kind: 'lost beginning' | 'lost end' | 'not billed' | 'billed otherwise' | 'not seen' | 'number twice'
  readonly instance_uuid: string
  readonly text: string
}

/**
 * What is odd about one instance.
 * @param audited the periods that each host has told of: one who is silent about all its instances says nothing of this one
 */
export function disagreements(
  facts: readonly UsageFact[],
  usage: Usage,
  audited: readonly AuditedPeriod[],
): readonly Disagreement[] {
  const { records } = usage
  const exists = facts.filter((fact) => fact.kind === 'exists')
  return [
    ...losses(facts, usage),
    ...numberedAlike(facts),
    ...exists.flatMap((fact) => against(fact, records, facts)),
    ...unseen(exists, records, audited),
  ]
}

/** A number is one notification's, as long as nobody has counted twice. */
function numberedAlike(facts: readonly UsageFact[]): Disagreement[] {
  const numbered = new Map<number, UsageFact>()
  return facts.flatMap((fact) => {
    const { sequence, instance_uuid, event_type, at } = fact
    const before = sequence === undefined ? undefined : numbered.get(sequence)
    if (sequence !== undefined && before === undefined) numbered.set(sequence, fact)
    if (before === undefined) return []
    const text = `${sequence} is the number of ${before.event_type} at ${before.at} and of ${event_type} at ${at}: both are billed`
    return [{ kind: 'number twice', instance_uuid, text } as const]
  })
}

/** Without numbers, what `instance.exists` tells of an end may be before that end, in one second. */
function losses(facts: readonly UsageFact[], { records, isBeginningLost, isEndLost }: Usage): Disagreement[] {
  const [first] = records
  if (first === undefined) return []
  const { instance_uuid } = first
  const lost: Disagreement[] = []
  if (isBeginningLost)
    lost.push({ kind: 'lost beginning', instance_uuid, text: `billed from launched_at, ${first.from}` })
  const last = records.at(-1)
  const isToldAfter = ({ kind, at, sequence }: UsageFact) =>
    kind === 'ends' && at === last?.to && sequence === undefined
  if (isEndLost && last?.to && !facts.some(isToldAfter))
    lost.push({ kind: 'lost end', instance_uuid, text: `billed up to terminated_at, ${last.to}` })
  return lost
}

/** At the end of the instance, or when it was told of, the ledger must have it as it was then. */
function against(
  { instance_uuid, at, told_at, launched_at, terminated_at, charged, period }: UsageFact,
  records: readonly UsageRecord[],
  facts: readonly UsageFact[],
): Disagreement[] {
  const seen = terminated_at ?? told_at ?? at
  const [early, late] = [moved(seen, -CLOCKS_DIFFER_MS), moved(seen, CLOCKS_DIFFER_MS)]
  const then = records.filter(({ from, to }) => from <= late && (to === null || early <= to))
  const when = `in the period to ${period?.ending ?? at}`
  // Where it changed about then any of it may have been seen, be it too short to be billed.
  const changes = facts
    .filter((fact) => fact.kind !== 'exists' && early <= fact.at && fact.at <= late)
    .map((fact) => fact.charged)
  const words = (one: Charged) => wordsOf(one, terminated_at !== null)
  const told = words(charged)
  if ([...then, ...changes].some((one) => differing(told, words(one)).length === 0)) return []
  // On no host it used nothing, nor in no second.
  if (charged.host === null && !isBilledThroughout(then, early, late)) return []
  if (then.length === 0) {
    if (launched_at === terminated_at) return []
    return [{ kind: 'not billed', instance_uuid, text: `it was on ${charged.host} ${when}` }]
  }
  const last = words(then.at(-1) as UsageRecord)
  return differing(told, last).map((word) => ({
    kind: 'billed otherwise',
    instance_uuid,
    text: `${word} was ${told[word]} ${when}, and is billed as ${last[word]}`,
  }))
}

/** @param records those that are in it, in their order */
function isBilledThroughout(records: readonly UsageRecord[], early: string, late: string): boolean {
  const isWhole = records.every(({ from }, n) => n === 0 || from === records[n - 1]?.to)
  const [first, last] = [records[0], records.at(-1)]
  return isWhole && first !== undefined && first.from <= early && (last?.to ?? late) >= late
}

function moved(moment: string, ms: number): string {
  return `${new Date(Date.parse(moment) + ms).toISOString().slice(0, 19)}Z`
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

type Words = Readonly<Record<string, string>>

/** What of it makes a price. Of one that is gone it is not known whether it was on. */
function wordsOf({ host, flavor, model, state }: Charged, isGone: boolean): Words {
  const power = isGone ? {} : { power: state === 'stopped' ? 'off' : 'on' }
  return { host: host ?? 'none', flavor: flavor.name, encryption: model ?? 'none', ...power }
}

function differing(told: Words, billed: Words): readonly string[] {
  return Object.keys(told).filter((word) => told[word] !== billed[word])
}
