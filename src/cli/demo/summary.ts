import pc from 'picocolors'
import { reportLines } from '../attempt-view.ts'
import { groupBy } from '../group-by.ts'
import { hostTable } from '../host-view.ts'
import type { BillingFacts } from '../notification-view.ts'
import { facts, table } from '../table.ts'
import { alikeRefusals } from './alike.ts'
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

function refusalTexts(refusals: readonly Refusal[]): string[] {
  return alikeRefusals(refusals).map(({ names, refusal: { code, message, report } }) => {
    const who = report === null ? 'before any host was asked' : 'no host could take it'
    const lines = [`${pc.bold(names)} (${who})`]
    if (report === null) return [...lines, `  ${pc.red(code)}: ${message}`].join('\n')
    return [...lines, `  ${pc.red(code)}`, ...reportLines(report)].join('\n')
  })
}

/** What may be charged, by what it is charged for: alike instances in one line, their extra specs below it. */
function billingTable(notifications: readonly BillingFacts[]): string {
  // What failed is charged to nobody.
  const charged = notifications.filter(({ event_type }) => event_type.startsWith('instance.'))
  const groups = groupBy(charged, ({ flavor, mem_encryption, extra_specs }) =>
    JSON.stringify([flavor, mem_encryption, extra_specs]),
  )
  const rows = groups.map((alike) => {
    const [{ flavor, mem_encryption: encryption }] = alike
    const count = (event: string) => String(alike.filter(({ event_type }) => event_type === event).length)
    const counts = ['instance.create.end', 'instance.delete.end'].map(count)
    const hosts = [...new Set(alike.flatMap(({ host }) => host ?? []))].toSorted()
    const got = encryption ? `${encryption.model} by ${encryption.requested_by}` : 'none'
    return [flavor ?? '-', got, ...counts, hosts.join(' ') || '-']
  })
  const header = ['FLAVOR', 'ENCRYPTION IT GOT', 'CREATED', 'DELETED', 'HOSTS']
  const [titles = '', ...lines] = table(header, rows).split('\n')
  const specs = groups.map(([{ extra_specs }]) => Object.entries(extra_specs).map(([key, value]) => `${key}=${value}`))
  const withSpecs = lines.flatMap((line, row) => [line, ...(specs[row] ?? []).map((spec) => pc.dim(`    ${spec}`))])
  const failed = notifications.length - charged.length
  const note = `${failed} of ${notifications.length} notifications tell of builds without a host (compute_task.build_instances.error)`
  return [titles, ...withSpecs, note].join('\n')
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
