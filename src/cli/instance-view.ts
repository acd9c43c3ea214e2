import pc from 'picocolors'
import type { BuildAttempt, Instance } from '../objects/instance.ts'
import { MEM_ENCRYPTION_MODELS } from '../objects/mem-encryption.ts'
import type { SchedulingReport } from '../objects/scheduling-report.ts'
import { facts, table } from './table.ts'

/** Instances and their tries as people read them. */
export function instanceTable(instances: readonly Instance[]): string {
  if (instances.length === 0) return 'no instances'
  const rows = instances.map((instance) => [
    instance.uuid,
    instance.name,
    colouredState(instance),
    instance.task_state ?? '-',
    instance.host ?? '-',
    encryptionLabel(instance),
    instance.flavor.name,
  ])
  return table(['UUID', 'NAME', 'STATE', 'TASK', 'HOST', 'ENCRYPTION', 'FLAVOR'], rows)
}

export function instanceFacts(instance: Instance): string {
  const { mem_encryption: encryption, fault } = instance
  return facts([
    ['uuid', instance.uuid],
    ['name', instance.name],
    ['state', colouredState(instance) + (instance.task_state ? ` (${instance.task_state})` : '')],
    ['host', instance.host ?? '-'],
    [
      'encryption',
      encryption
        ? `${encryptionLabel(instance)}, policy ${encryption.policy}, asked for by ${encryption.requested_by}`
        : 'none',
    ],
    [
      'flavor',
      `${instance.flavor.name}: ${instance.flavor.vcpus} vCPU, ${instance.flavor.memory_mb} MiB, ${instance.flavor.root_gb} GiB disk`,
    ],
    ['extra specs', properties(instance.flavor.extra_specs)],
    ['zone', instance.availability_zone ?? 'any'],
    ...hintFacts(instance),
    ['image', instance.image.name ?? instance.image.id ?? '-'],
    ['image properties', properties(instance.image.properties)],
    ['created', instance.created_at],
    ['launched', instance.launched_at ?? '-'],
    ['terminated', instance.terminated_at ?? '-'],
    ...(fault ? [['fault', `${pc.red(fault.code)}: ${fault.message}`] as const] : []),
  ])
}

function hintFacts({ scheduler_hints: hints }: Instance): readonly (readonly [string, string])[] {
  const { group, same_host, different_host } = hints
  return [
    ...(group === null ? [] : [['group', group] as const]),
    ...(same_host.length === 0 ? [] : [['same host as', same_host.join(' ')] as const]),
    ...(different_host.length === 0 ? [] : [['different host than', different_host.join(' ')] as const]),
  ]
}

export function encryptionLabel({ mem_encryption: encryption }: Pick<Instance, 'mem_encryption'>): string {
  return encryption === null ? '-' : MEM_ENCRYPTION_MODELS[encryption.model].label
}

function colouredState({ vm_state: state }: Pick<Instance, 'vm_state'>): string {
  const word = state.toUpperCase()
  if (state === 'active') return pc.green(word)
  if (state === 'error') return pc.red(word)
  return state === 'building' ? pc.yellow(word) : pc.dim(word)
}

/** Every try: where it went, how it ended, and who said no. */
export function attemptLines(attempts: readonly BuildAttempt[]): string {
  return attempts.map(attemptText).join('\n\n')
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

/** Who said no and why, then the order of those that were left. */
export function reportLines(report: SchedulingReport): string[] {
  const lines: string[] = [`  ${report.hosts_considered} host(s) considered`]
  if (report.rejected.length > 0) {
    lines.push(`  rejected: ${report.rejected.map(({ filter, hosts }) => `${filter} ${hosts}`).join(', ')}`)
    const rows = report.rejections.map(({ host, filter, reason }) => [host, filter, reason])
    lines.push(indent(table(['HOST', 'FILTER', 'REASON'], rows)))
  }
  if (report.ranking.length > 0) {
    const rows = report.ranking.map(({ host, weight, weights }) => [host, weight.toFixed(2), weightsText(weights)])
    lines.push('  best first:', indent(table(['HOST', 'WEIGHT', 'OF WHICH'], rows)))
  }
  return lines
}

/** Weighers without an opinion are left out: of most requests these are most. */
function weightsText(weights: Readonly<Record<string, number>>): string {
  return Object.entries(weights)
    .filter(([, value]) => value !== 0)
    .map(([name, value]) => `${name} ${value.toFixed(2)}`)
    .join(', ')
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n')
}

function properties(values: Readonly<Record<string, unknown>>): string {
  const pairs = Object.entries(values).map(([key, value]) => `${key}=${value}`)
  return pairs.length > 0 ? pairs.join(' ') : '-'
}
