import pc from 'picocolors'
import { hostTable } from '../host-view.ts'
import { reportLines } from '../instance-view.ts'
import type { BillingFacts } from '../notification-view.ts'
import { facts, table } from '../table.ts'
import type { DemoFacts, Refusal, Totals } from './facts.ts'

/** What stays on the screen when the demo has ended. */
export function summary({ hosts, refusals, notifications, totals }: DemoFacts): string {
  return [
    heading('hosts (slots used / usable)'),
    hostTable(hosts),
    heading('refusals'),
    ...refusalTexts(refusals),
    heading('what billing received (create.end starts the charge, delete.end stops it)'),
    billingTable(notifications),
    heading('totals'),
    totalsText(totals),
  ].join('\n')
}

function heading(text: string): string {
  return `\n${pc.bold(pc.underline(text))}`
}

/** Instances refused by the same hosts for the same reasons are told of together. */
function refusalTexts(refusals: readonly Refusal[]): string[] {
  const groups = groupBy(refusals, ({ code, message, report }) => JSON.stringify([code, report ?? message]))
  return groups.map((alike) => {
    const { code, message, report } = alike[0] as Refusal
    const who = report === null ? 'before any host was asked' : 'no host could take it'
    const lines = [`${pc.bold(alike.map(({ name }) => name).join(', '))} (${who})`]
    if (report === null) return [...lines, `  ${pc.red(code)}: ${message}`].join('\n')
    return [...lines, `  ${pc.red(code)}`, ...reportLines(report)].join('\n')
  })
}

/** What may be charged, by what it is charged for: alike instances in one line. */
function billingTable(notifications: readonly BillingFacts[]): string {
  const groups = groupBy(notifications, ({ flavor, mem_encryption, extra_specs }) =>
    JSON.stringify([flavor, mem_encryption, extra_specs]),
  )
  const rows = groups.map((alike) => {
    const { flavor, extra_specs, mem_encryption } = alike[0] as BillingFacts
    const count = (event: string) => String(alike.filter(({ event_type }) => event_type === event).length)
    const hosts = [...new Set(alike.flatMap(({ host }) => host ?? []))].toSorted()
    const encryption = mem_encryption
      ? `${mem_encryption.model} ${mem_encryption.policy} by ${mem_encryption.requested_by}`
      : 'none'
    const specs = Object.entries(extra_specs).map(([key, value]) => `${key}=${value}`)
    const counts = ['instance.create.end', 'instance.delete.end', 'compute_task.build_instances.error'].map(count)
    return [flavor ?? '-', encryption, ...counts, hosts.join(' ') || '-', specs.join(' ') || '-']
  })
  return table(['FLAVOR', 'ENCRYPTION IT GOT', 'CREATED', 'DELETED', 'FAILED', 'HOSTS', 'FLAVOR EXTRA SPECS'], rows)
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>()
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item])
  return [...groups.values()]
}

function totalsText(totals: Totals): string {
  return facts([
    [
      'instances',
      `${totals.requested} asked for, ${totals.active} active (${totals.encrypted_active} encrypted), ${totals.error} without a host, ${totals.deleted} deleted, ${totals.refused_by_conductor} refused before scheduling`,
    ],
    ['slots', `${totals.slots_used} of ${totals.slots_usable} used`],
    ['notifications', String(totals.notifications)],
    ['request to ACTIVE', `median ${totals.boot_ms.median} ms, slowest ${totals.boot_ms.max} ms`],
    ['in all', `${(totals.elapsed_ms / 1000).toFixed(1)} s`],
  ])
}
