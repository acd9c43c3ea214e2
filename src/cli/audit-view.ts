import pc from 'picocolors'
import type { AuditFinding, AuditReport, FindingKind } from '../objects/audit.ts'
import { table } from './table.ts'

/** Hosts that did not answer, and remedies, that are shown; --json has more. */
const SHOWN = 20

const TITLES: Readonly<Record<FindingKind, string>> = {
  double: 'double',
  ghost: 'ghost',
  wrong_encryption: 'wrong encryption',
  missing_claim: 'missing claim',
  leak: 'leak',
  missing_guest: 'missing guest',
  key_count: 'key count',
  foreign_guest: 'foreign guest',
  stray_disks: 'stray disks',
  overcommit: 'overcommit',
  miscount: 'miscount',
}

/** What was compared, what does not agree, what to do about it, and the sum of it. */
export function auditText(report: AuditReport, isRepair: boolean): string {
  const { findings } = report
  const parts = [compared(report), notJudged(report)]
  if (findings.length > 0) parts.push(findingTable(findings), ...remedies(findings, isRepair))
  parts.push(conclusion(report, isRepair))
  return parts.filter((part) => part !== '').join('\n\n')
}

function compared({ compared, changing, settle_seconds }: AuditReport): string {
  const { hosts, instances, claims, guests } = compared
  const facts = [count(hosts, 'host'), count(instances, 'instance'), count(claims, 'claim'), count(guests, 'guest')]
  const skipped = changing > 0 ? `\n${count(changing, 'instance')} being built, moved or deleted: not judged` : ''
  return `compared ${facts.join(', ')}; what did not agree was looked at again after ${settle_seconds} s${skipped}`
}

function notJudged({ not_judged: named, not_judged_total: total }: AuditReport): string {
  if (total === 0) return ''
  const lines = named.slice(0, SHOWN).map(({ what, reason }) => `  ${pc.yellow(what)}: ${reason}`)
  const more = total - lines.length
  return ['not judged, for they did not answer:', ...lines, ...(more > 0 ? [`  and ${more} more`] : [])].join('\n')
}

function findingTable(findings: readonly AuditFinding[]): string {
  const rows = findings.map((finding) => [
    TITLES[finding.kind],
    finding.host,
    subjectOf(finding),
    outcomeOf(finding),
    finding.failure === null ? finding.problem : `${finding.problem}; ${finding.failure}`,
  ])
  return table(['KIND', 'HOST', 'INSTANCE OR GUEST', 'REPAIR', 'WHAT IS WRONG'], rows)
}

function subjectOf({ instance_uuid: uuid, instance_name: name }: AuditFinding): string {
  if (uuid === null) return '-'
  return name === null ? uuid : `${name} ${uuid}`
}

function outcomeOf({ outcome, repair }: AuditFinding): string {
  if (outcome === 'repaired') return pc.green('repaired')
  if (outcome === 'not repaired') return pc.red('not repaired')
  return repair === null ? pc.yellow('for a person') : pc.green('--repair')
}

/** The same advice once, with those that it is for. */
function remedies(findings: readonly AuditFinding[], isRepair: boolean): readonly string[] {
  const repairs = findings.flatMap(({ kind, outcome, repair }) =>
    repair === null || outcome === 'not repaired'
      ? []
      : [`${TITLES[kind]}: ${repair.does} (${repair.action}); safe, because ${repair.safe_because}`],
  )
  const advice = findings.flatMap(({ kind, advice: text }) => (text === null ? [] : [`${TITLES[kind]}: ${text}`]))
  return [...listed(isRepair ? '--repair did' : '--repair would do', repairs), ...listed('for a person', advice)]
}

function listed(title: string, texts: readonly string[]): readonly string[] {
  const unique = [...new Set(texts)]
  if (unique.length === 0) return []
  const more = unique.length - SHOWN
  const lines = unique.slice(0, SHOWN).map((text) => `  ${text}`)
  return [[`${pc.bold(title)}:`, ...lines, ...(more > 0 ? [`  and ${more} more: --json has them`] : [])].join('\n')]
}

function conclusion(report: AuditReport, isRepair: boolean): string {
  const { findings, remaining, remaining_total, repaired_total } = report
  const done = isRepair ? `${repaired_total} repaired; ` : ''
  if (remaining_total === 0) return `${done}${agreement(report)}`
  const kinds = Object.entries(remaining).map(([kind, number]) => `${TITLES[kind as FindingKind]} ${number}`)
  const shown = remaining_total + repaired_total > findings.length ? ` (the first ${findings.length} are shown)` : ''
  const hint =
    !isRepair && findings.some(({ repair }) => repair !== null) ? '; sevbus audit --repair mends what is safe' : ''
  const what = `${count(remaining_total, 'finding')}${isRepair ? ' left' : ''}`
  return `${done}${pc.red(what)}: ${kinds.join(', ')}${shown}${hint}`
}

function agreement({ compared, not_judged_total }: AuditReport): string {
  if (not_judged_total === 0) return pc.green('everything agrees')
  return compared.hosts > 0 ? pc.green('all that answered agrees') : pc.yellow('no host answered')
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
