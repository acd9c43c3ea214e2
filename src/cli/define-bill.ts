import { type Command, Option } from 'commander'
import type { Define } from './define.ts'

/** Billing by the notifications: a reference consumer. */
export function defineBill(define: Define): void {
  const load = () => import('./bill.ts')
  define('run', 'follow the notifications and store what is billed by, until stopped', async (options) =>
    (await import('./bill-run.ts')).billRun(options),
  )
  withSpan(
    define('show', 'usage by project, flavor and encryption, with prices and totals', async (options) =>
      (await load()).billShow(options),
    ),
  )
  withSpan(
    define('export', 'every usage record: instance, how it ran, from, to, seconds, amounts', async (options) =>
      (await load()).billExport(options),
    ),
  ).addOption(new Option('--format <format>', 'json is one record a line').choices(['csv', 'json']).default('csv'))
  define('check', 'what the ledger and the periodic instance.exists do not agree about', async (options) =>
    (await load()).billCheck(options),
  )
  define('import <files...>', 'notifications out of files, one a line; - is standard input', async (options, files) =>
    (await import('./bill-import.ts')).billImport(files, options),
  )
}

function withSpan(command: Command): Command {
  return command
    .option('--from <time>', 'only what was used from then on: a day, or a time of ISO 8601; UTC')
    .option('--to <time>', 'only what was used before; now without it')
    .option('--month <month>', 'instead of both: 2026-11')
    .option('--project <id>', 'only of this project')
    .option('--rates <file>', 'a rate card; else bill.rates, else no prices')
}
