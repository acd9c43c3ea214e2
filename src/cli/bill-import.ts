import type { Ledger } from '../billing/ledger.ts'
import { isPassedOver } from '../billing/passed-over.ts'
import { Intake, type Recorded } from '../billing/record-notifications.ts'
import { openLedger } from '../compose/open-ledger.ts'
import { hot } from '../hot-schema.ts'
import { AnyNotification } from '../notifications/notification.ts'
import { BATCH, counter, report } from './bill-count.ts'
import { EXIT } from './exit-codes.ts'
import { linesOf, unreadable } from './lines.ts'
import { type GlobalOptions, loadCliConfig } from './session.ts'

/** Notifications out of files, one a line, as `sevbus events --json` prints them: what is there already stays as it is. */
export async function billImport(files: readonly string[], options: GlobalOptions): Promise<number> {
  await using store = await openLedger(loadCliConfig(options))
  const count = counter()
  for (const file of files) for await (const recorded of recordFile(file, store.ledger)) count(recorded)
  report(count(), options)
  return EXIT.OK
}

/** What is recorded of each batch. */
export async function* recordFile(file: string, ledger: Ledger): AsyncGenerator<Recorded> {
  let [intake, isMissingSome] = [new Intake(), await ledger.followed.isMissingSome()]
  let number = 0
  for await (const lines of linesOf(file)) {
    for (const line of lines) {
      number += 1
      // Of what is not billed by the numbers count, where some are missed.
      if (!isMissingSome && isPassedOver(line)) {
        intake.passOver()
        continue
      }
      const text = line.toString()
      if (text.trim() !== '') intake.add(notificationOf(text, file, number))
    }
    if (intake.notifications < BATCH) continue
    yield await intake.storeIn(ledger)
    ;[intake, isMissingSome] = [new Intake(), await ledger.followed.isMissingSome()]
  }
  yield await intake.storeIn(ledger)
}

function notificationOf(line: string, file: string, number: number): AnyNotification {
  try {
    const told = hot(AnyNotification).parse(JSON.parse(line))
    // One that came from a bus may lack anything, and is kept; a file of something else altogether is a mistake.
    if (told.message_id === null && told.event_type === null) throw new Error('it is no notification')
    return told
  } catch (error) {
    throw unreadable(`${file}, line ${number},`, file, error)
  }
}
