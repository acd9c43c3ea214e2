import type { Ledger } from '../billing/ledger.ts'
import { type Recorded, recordNotifications } from '../billing/record-notifications.ts'
import { busNames } from '../compose/names.ts'
import { openLedger } from '../compose/open-ledger.ts'
import { aborted, onTermination } from '../compose/process.ts'
import { conductorReplay } from '../conductor-replay.ts'
import { createLogger } from '../logger.ts'
import { NotificationConsumer } from '../notifications/consumer.ts'
import { InSequence } from '../notifications/in-sequence.ts'
import { AnyNotification } from '../notifications/notification.ts'
import { numberOf } from '../notifications/sequence-number.ts'
import { catchUpOnce } from './bill-catch-up.ts'
import { BATCH, counter, report } from './bill-count.ts'
import { countedBackText } from './bill-view.ts'
import { EXIT } from './exit-codes.ts'
import { note } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

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
    const inOrder = (batch: readonly AnyNotification[]) =>
      sequence.handle(batch, async (ordered) => {
        count(await recordNotifications(store.ledger, ordered))
      })
    // One after the other: what has come by the queue meanwhile is known then.
    let latest: Promise<void> = Promise.resolve()
    const handle = (batch: readonly AnyNotification[]) => {
      const handled = latest.then(() => inOrder(batch))
      latest = handled.catch(() => {})
      return handled
    }
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
      onBatch: handle,
    })
    await consumer.start()
    note(
      `billing by ${notifications.topic}.info on ${transport.description} into the ${store.description}; Ctrl-C ends it`,
    )
    const signal = onTermination(note)
    const queue = config.bill.pool
    const { followed } = store.ledger
    const caughtUp = catchUpOnce({ conductor, transport, queue, followed, handle, logger, signal })
    await aborted(signal)
    await consumer.close()
    await caughtUp
    report(count(), options)
    return EXIT.OK
  })
}

/** A release that reads more than the one before reads what that could not. */
async function readAgain(ledger: Ledger): Promise<Recorded> {
  return recordNotifications(ledger, AnyNotification.array().parse(await ledger.unreadNotifications(10_000)))
}
