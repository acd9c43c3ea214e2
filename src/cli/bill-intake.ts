import type { Ledger } from '../billing/ledger.ts'
import { Intake, type Recorded, recordNotifications } from '../billing/record-notifications.ts'
import { busNames } from '../compose/names.ts'
import { openLedger } from '../compose/open-ledger.ts'
import { aborted, onTermination } from '../compose/process.ts'
import { conductorReplay } from '../conductor-replay.ts'
import { createLogger } from '../logger.ts'
import { NotificationConsumer } from '../notifications/consumer.ts'
import { InSequence } from '../notifications/in-sequence.ts'
import { AnyNotification } from '../notifications/notification.ts'
import { numberOf } from '../notifications/sequence-number.ts'
import { countedBackText } from './bill-view.ts'
import { EXIT } from './exit-codes.ts'
import { linesOf, unreadable } from './lines.ts'
import { note, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig, withSession } from './session.ts'

/** So many notifications become one transaction. */
const BATCH = 2000

/** Follows the notifications until stopped, and stores what is billed by. */
export async function billRun(options: GlobalOptions): Promise<number> {
  return withSession(options, async ({ config, transport, notifications, conductor }) => {
    await using store = await openLedger(config)
    const count = counter()
    count(await readAgain(store.ledger))
    const logger = createLogger('bill', options.debug ? 'debug' : config.worker.log_level)
    const sequence = new InSequence<AnyNotification>({
      positions: store.ledger.followed.positions,
      replay: conductorReplay(conductor),
      onLost: (gap) => store.ledger.followed.noteLost(gap),
      onCountedBack: async (told) => {
        logger.warn(told, countedBackText(told))
        await store.ledger.followed.noteCountedBack(told)
      },
    })
    const consumer = new NotificationConsumer({
      transport,
      logger,
      names: notifications,
      busNames: busNames(config),
      check: numberOf,
      pool: config.bill.pool,
      // Errors are billed by as little as starts, but without them the numbers would have gaps.
      priorities: ['info', 'error'],
      payload: 'any',
      batchSize: BATCH,
      batchTimeoutMs: 200,
      onBatch: (batch) =>
        sequence.handle(batch, async (ordered) => {
          count(await recordNotifications(store.ledger, ordered))
        }),
    })
    await consumer.start()
    note(
      `billing by ${notifications.topic}.info on ${transport.description} into the ${store.description}; Ctrl-C ends it`,
    )
    await aborted(onTermination(note))
    await consumer.close()
    report(count(), options)
    return EXIT.OK
  })
}

/** Notifications out of files, one a line, as `sevbus events --json` prints them: what is there already stays as it is. */
export async function billImport(files: readonly string[], options: GlobalOptions): Promise<number> {
  await using store = await openLedger(loadCliConfig(options))
  const count = counter()
  for (const file of files) {
    let intake = new Intake()
    let number = 0
    for await (const lines of linesOf(file)) {
      for (const line of lines) {
        number += 1
        if (line.trim() !== '') intake.add(notificationOf(line, file, number))
      }
      if (intake.notifications < BATCH) continue
      count(await intake.storeIn(store.ledger))
      intake = new Intake()
    }
    count(await intake.storeIn(store.ledger))
  }
  report(count(), options)
  return EXIT.OK
}

/** A release that reads more than the one before reads what that could not. */
async function readAgain(ledger: Ledger): Promise<Recorded> {
  return recordNotifications(ledger, AnyNotification.array().parse(await ledger.unreadNotifications(10_000)))
}

function notificationOf(line: string, file: string, number: number): AnyNotification {
  try {
    const told = AnyNotification.parse(JSON.parse(line))
    // One that came from a bus may lack anything, and is kept; a file of something else altogether is a mistake.
    if (told.message_id === null && told.event_type === null) throw new Error('it is no notification')
    return told
  } catch (error) {
    throw unreadable(`${file}, line ${number},`, file, error)
  }
}

function counter() {
  let sum: Recorded = { notifications: 0, facts: 0, unread: 0 }
  return (more?: Recorded): Recorded => {
    if (more !== undefined)
      sum = {
        notifications: sum.notifications + more.notifications,
        facts: sum.facts + more.facts,
        unread: sum.unread + more.unread,
      }
    return sum
  }
}

function report(sum: Recorded, { json }: GlobalOptions): void {
  if (json) printJson(sum)
  else note(`${sum.notifications} notifications, ${sum.facts} new facts stored, ${sum.unread} could not be read`)
}
