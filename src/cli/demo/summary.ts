import pc from 'picocolors'
import { hostTable } from '../host-view.ts'
import { reportLines } from '../instance-view.ts'
import { facts, table } from '../table.ts'
import type { DemoFacts, Refusal, Totals } from './facts.ts'

/** What stays on the screen when the demo has ended. */
export function summary({ hosts, refusals, notifications, totals }: DemoFacts): string {
  return [
    heading('hosts (slots used / usable)'),
    hostTable(hosts),
    heading('refusals'),
    ...refusals.map(refusalText),
    heading('what billing received'),
    billingTable(notifications),
    heading('totals'),
    totalsText(totals),
  ].join('\n')
}

export function heading(text: string): string {
  return `\n${pc.bold(pc.underline(text))}`
}

export function refusalText({ name, code, message, report }: Refusal): string {
  const who = report === null ? 'before any host was asked' : 'no host could take it'
  const lines = [`${pc.bold(name)} (${who})`, `  ${pc.red(code)}: ${message}`]
  if (report !== null) lines.push(...reportLines(report))
  return lines.join('\n')
}

/** Notifications by event, encryption and extra specs: one line for many alike. */
function billingTable(notifications: DemoFacts['notifications']): string {
  const groups = new Map<string, { cells: string[]; count: number }>()
  for (const { event_type, flavor, extra_specs, mem_encryption, host } of notifications) {
    const specs =
      Object.entries(extra_specs)
        .map(([key, value]) => `${key}=${value}`)
        .join(' ') || '-'
    const encryption = mem_encryption
      ? `${mem_encryption.model} ${mem_encryption.policy}, by ${mem_encryption.requested_by}`
      : 'none'
    const cells = [event_type, host ?? '-', flavor ?? '-', specs, encryption]
    const group = groups.get(cells.join('|')) ?? { cells, count: 0 }
    groups.set(cells.join('|'), { cells, count: group.count + 1 })
  }
  const rows = [...groups.values()].map(({ cells, count }) => [String(count), ...cells])
  const ordered = rows.toSorted(
    (a, b) => (a[1] as string).localeCompare(b[1] as string) || (a[2] as string).localeCompare(b[2] as string),
  )
  return table(['COUNT', 'EVENT', 'HOST', 'FLAVOR', 'FLAVOR EXTRA SPECS', 'ENCRYPTION IT GOT'], ordered)
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
