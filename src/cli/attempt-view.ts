import pc from 'picocolors'
import type { BuildAttempt } from '../objects/instance.ts'
import type { ActionRecord } from '../objects/instance-action.ts'
import type { InstanceMigration } from '../objects/instance-migration.ts'
import { MEM_ENCRYPTION_MODELS } from '../objects/mem-encryption.ts'
import type { SchedulingReport } from '../objects/scheduling-report.ts'
import { table } from './table.ts'

/** Every try: where it went, how it ended, and who said no. */
export function attemptLines(attempts: readonly BuildAttempt[]): string {
  return attempts.map(attemptText).join('\n\n')
}

/** Each move that the instance made, or was to make, and what is left of it. */
export function migrationLines(migrations: readonly InstanceMigration[]): string {
  return migrations.map(migrationText).join('\n')
}

/** What was done to it since it lives. */
export function actionLines(actions: readonly ActionRecord[]): string {
  return actions.map(actionText).join('\n')
}

function actionText({ number, action, status, fault, request_id, started_at }: ActionRecord): string {
  const why = action.name === 'stop' && action.observed ? `, nobody asked: its guest was ${action.observed}` : ''
  const line = `action ${number}: ${action.name}${why}: ${status} (${started_at}, ${request_id ?? 'no request'})`
  return fault === null ? line : `${line}\n  ${fault.code}: ${fault.message}`
}

function migrationText({ type, status, source_host: from, dest_host: to, ...flavors }: InstanceMigration): string {
  const { source_flavor: old, new_flavor: next } = flavors
  const size = next === null ? '' : `, ${old} to ${next}`
  if (type === 'rebuild') return rebuildText(status, from)
  const move = `${type} from ${from}${to === null ? '' : ` to ${to}`}${size}`
  switch (status) {
    case 'accepted':
      return `${move}: under way`
    case 'finished':
      return `${move}: there; what it had on ${from} is kept until you decide: sevbus resize-confirm, or resize-revert`
    case 'confirming':
      return `${move}: it stays; ${from} is told to remove what it had there`
    case 'reverting':
      return `${move}: it goes back; ${to} is told to remove what it has there`
    case 'reverted':
      return `${move}: reverted; the instance is on ${from} as before`
    case 'failed':
      return `${move}: failed; the instance stayed on ${from}`
    case 'completed':
      return `${move}: done, and ${from} has nothing of it any more`
    case 'done':
      return `${move}: done; what it had on ${from} stays claimed until that host is back and has removed the guest, or is powered off for good: sevbus host set ${from} --fenced`
    default:
      return status satisfies never
  }
}

function rebuildText(status: InstanceMigration['status'], host: string): string {
  if (status === 'accepted') return `rebuild on ${host}: under way`
  if (status === 'completed') return `rebuild on ${host}: done`
  return `rebuild on ${host}: failed`
}

function attemptText(attempt: BuildAttempt): string {
  const lines = [`${pc.bold(`try ${attempt.attempt}`)}: ${attempt.outcome}${attempt.host ? ` on ${attempt.host}` : ''}`]
  if (attempt.reason !== null) lines.push(`  ${attempt.reason}`)
  if (attempt.allocations.length > 0) {
    lines.push('  claimed:')
    for (const { provider, resource_class, amount, pinned } of attempt.allocations)
      lines.push(`    ${provider}: ${resource_class} ${amount}${pinned ? ' (pinned)' : ''}`)
  }
  if (attempt.report) lines.push(...reportLines(attempt.report))
  return lines.join('\n')
}

/** Who said no and why, model by model where several would do, then the order of those that were left. */
export function reportLines(report: SchedulingReport): string[] {
  const { refused_models: before = [], model } = report
  const lines = before.flatMap((refused) => refusalLines(refused, `${MEM_ENCRYPTION_MODELS[refused.model].label}: `))
  lines.push(...refusalLines(report, before.length > 0 && model ? `${MEM_ENCRYPTION_MODELS[model].label}: ` : ''))
  if (report.ranking.length > 0) {
    const rows = report.ranking.map(({ host, weight, weights }) => [host, weight.toFixed(2), weightsText(weights)])
    lines.push('  best first:', indent(table(['HOST', 'WEIGHT', 'OF WHICH'], rows)))
  }
  return lines
}

type Refusals = Pick<SchedulingReport, 'hosts_considered' | 'rejected' | 'rejections'>

function refusalLines({ hosts_considered, rejected, rejections }: Refusals, of: string): string[] {
  const lines = [`  ${of}${hosts_considered} host(s) considered`]
  if (rejected.length === 0) return lines
  const rows = rejections.map(({ host, filter, reason }) => [host, filter, reason])
  const counts = rejected.map(({ filter, hosts }) => `${filter} ${hosts}`).join(', ')
  return [...lines, `  rejected: ${counts}`, indent(table(['HOST', 'FILTER', 'REASON'], rows))]
}

/** Weighers without an opinion are left out: of most requests these are most. */
function weightsText(weights: Readonly<Record<string, number>>): string {
  const opinions = Object.entries(weights).filter(([, value]) => value !== 0)
  return (
    opinions.map(([name, value]) => `${name} ${value.toFixed(2)}`).join(', ') || 'no weigher tells it from the others'
  )
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n')
}
