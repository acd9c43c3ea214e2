import pc from 'picocolors'
import type { SharedId } from '../billing/ledger.ts'
import type { Amounts, Statement, StatementLine } from '../billing/statement.ts'
import type { UsageRecord } from '../billing/usage-records.ts'
import type { CountedBack } from '../notifications/replay.ts'
import { table } from './table.ts'

interface Unread {
  readonly message_id: string
  readonly event_type: string
  readonly reason: string
}

export function statementText(statement: Statement, unread: readonly Unread[], sharedIds: readonly SharedId[]): string {
  const { from, to, currency, lines, total, inferred, unpriced } = statement
  const span = `usage ${from === null ? '' : `from ${from} `}to ${to}`
  const priced = currency !== null
  const header = [
    'PROJECT',
    'FLAVOR',
    'ENCRYPTION',
    'INSTANCES',
    'HOURS',
    ...(priced ? ['BASE', 'SURCHARGE', 'AMOUNT'] : []),
  ]
  const rows = lines.map((line) => rowOf(line, priced))
  const remarks = [
    ...(inferred > 0 ? [`${inferred} records have a beginning or an end that only another notification tells`] : []),
    ...unpriced.map((missing) => pc.red(`no price: the rate card lacks ${missing}`)),
    ...sharedIds.map((shared) => pc.red(sharedIdText(shared))),
    ...unread.map(({ message_id, event_type, reason }) => pc.red(`unread ${event_type} ${message_id}: ${reason}`)),
  ]
  const sum = priced
    ? [`${pc.bold('total')} ${total} ${currency}${unpriced.length > 0 ? ', without what has no price' : ''}`]
    : []
  return [span, '', lines.length === 0 ? 'nothing was used' : table(header, rows), ...sum, ...remarks].join('\n')
}

function rowOf(
  { project_id, flavor, model, instances, seconds, base, surcharge, amount }: StatementLine,
  priced: boolean,
) {
  const amounts = priced ? [base, surcharge, amount].map((value) => value ?? '-') : []
  return [project_id ?? '-', flavor, model ?? 'none', `${instances}`, (seconds / 3600).toFixed(2), ...amounts]
}

export function sharedIdText({ message_id, instances }: SharedId): string {
  return `${message_id}  shared id: it names a notification of each of ${instances.join(', ')}; all are billed`
}

export function countedBackText({ instance_uuid, reached, last_sequence }: CountedBack): string {
  const since =
    last_sequence < reached
      ? `the conductors have counted to ${last_sequence}`
      : `up to there are others by now (the conductors have counted to ${last_sequence})`
  return (
    `instance ${instance_uuid} was told of up to number ${reached}, and ${since}: was their database restored, or copied? All that ` +
    'they keep of it is read again; look at "sevbus bill check", and bring what was sent meanwhile and is kept elsewhere by ' +
    '"sevbus bill import"'
  )
}

/** How usage records are written to a file. */
export interface ExportForm {
  readonly head: string
  readonly line: (record: UsageRecord, amounts: Amounts) => string
}

const COLUMNS = [
  ...['instance_uuid', 'display_name', 'project_id', 'user_id', 'host', 'flavor', 'vcpus', 'memory_mb'],
  ...['model', 'state', 'from', 'to', 'seconds', 'inferred', 'base', 'surcharge', 'amount'],
]

/** RFC 4180. A name that a spreadsheet would take for a formula is one that a stranger chose: it gets an apostrophe. */
export const CSV: ExportForm = {
  head: `${COLUMNS.join(',')}\r\n`,
  line: (record, amounts) => {
    const flat: Record<string, unknown> = flatten(record, amounts)
    return `${COLUMNS.map((column) => cell(flat[column])).join(',')}\r\n`
  },
}

/** One object a line. */
export const JSON_LINES: ExportForm = {
  head: '',
  line: (record, amounts) => `${JSON.stringify(flatten(record, amounts))}\n`,
}

function flatten({ flavor, ...record }: UsageRecord, amounts: Amounts) {
  return { ...record, flavor: flavor.name, vcpus: flavor.vcpus, memory_mb: flavor.memory_mb, ...amounts }
}

function cell(value: unknown): string {
  const text = value === null || value === undefined ? '' : String(value)
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
