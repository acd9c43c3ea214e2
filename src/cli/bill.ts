import { checkLedger } from '../billing/check-ledger.ts'
import { parseRateCard, type RateCard } from '../billing/rate-card.ts'
import { type Amounts, statementOf } from '../billing/statement.ts'
import type { UsageRecord } from '../billing/usage-records.ts'
import { openExistingLedger } from '../compose/open-ledger.ts'
import { InvalidFile } from '../errors.ts'
import { type BillSpan, spanOf } from './bill-span.ts'
import { CSV, countedBackText, JSON_LINES, sharedIdText, statementText } from './bill-view.ts'
import { EXIT } from './exit-codes.ts'
import { MAX_DOCUMENT_BYTES, readNamedFile } from './named-file.ts'
import { note, print, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig } from './session.ts'

export interface BillOptions extends GlobalOptions, BillSpan {
  readonly rates?: string
  readonly project?: string
  readonly format?: 'csv' | 'json'
}

/** What was used, and what it costs. */
export async function billShow(options: BillOptions): Promise<number> {
  const config = loadCliConfig(options)
  const card = rateCard(options.rates ?? config.bill.rates)
  const span = spanOf(options)
  await using store = await openExistingLedger(config)
  const statement = await statementOf(store.ledger, { span, card, project: options.project })
  const [unread, sharedIds] = [await store.ledger.unread(), await store.ledger.sharedIds()]
  if (options.json) printJson({ ...statement, unread, shared_ids: sharedIds })
  else print(statementText(statement, unread, sharedIds))
  return statement.unpriced.length + unread.length + sharedIds.length > 0 ? EXIT.FINDINGS : EXIT.OK
}

/** Every usage record, for a spreadsheet or a program; a part of them in memory at a time. */
export async function billExport(options: BillOptions): Promise<number> {
  const config = loadCliConfig(options)
  const card = rateCard(options.rates ?? config.bill.rates)
  const span = spanOf(options)
  await using store = await openExistingLedger(config)
  const form = options.format === 'json' ? JSON_LINES : CSV
  await write(form.head)
  const each = (record: UsageRecord, amounts: Amounts) => write(form.line(record, amounts))
  const statement = await statementOf(store.ledger, { span, card, project: options.project, each })
  for (const missing of statement.unpriced) note(`no price: the rate card lacks ${missing}`)
  return statement.unpriced.length > 0 ? EXIT.FINDINGS : EXIT.OK
}

/** What the ledger and `instance.exists` do not agree about. */
export async function billCheck(options: BillOptions): Promise<number> {
  await using store = await openExistingLedger(loadCliConfig(options))
  const { auditedPeriods, disagreements, sharedIds, unread, lost, countedBack } = await checkLedger(store.ledger)
  if (options.json)
    printJson({
      ...{ audited_periods: auditedPeriods, disagreements, shared_ids: sharedIds, unread, lost },
      counted_back: countedBack,
    })
  else {
    for (const { kind, instance_uuid, text } of disagreements) print(`${instance_uuid}  ${kind}: ${text}`)
    for (const shared of sharedIds) print(sharedIdText(shared))
    for (const { message_id, event_type, reason } of unread) print(`${message_id}  unread ${event_type}: ${reason}`)
    for (const { instance_uuid, from, to } of lost)
      print(`${instance_uuid}  lost: its notifications ${from} to ${to} are missing, and kept no more`)
    for (const { noted_at, ...told } of countedBack)
      print(`${told.instance_uuid}  counted back, ${noted_at.toISOString().slice(0, 19)}Z: ${countedBackText(told)}`)
    note(
      `${disagreements.length} disagreements with ${auditedPeriods} audited periods, ${sharedIds.length} ids of several instances, ` +
        `${unread.length} notifications unread`,
    )
  }
  return disagreements.length + sharedIds.length + unread.length + lost.length + countedBack.length > 0
    ? EXIT.FINDINGS
    : EXIT.OK
}

function rateCard(file: string | undefined): RateCard | undefined {
  if (file === undefined) return undefined
  try {
    return parseRateCard(readNamedFile(file, MAX_DOCUMENT_BYTES).toString(), file)
  } catch (error) {
    if (error instanceof InvalidFile) throw error
    throw new InvalidFile(`${file} cannot be read: ${(error as Error).message}`, {
      file,
      fix: 'give a rate card in YAML',
    })
  }
}

/** Waits while whoever reads it does not keep up. */
function write(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()))
  })
}
