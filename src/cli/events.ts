import { aborted, onTermination } from '../compose/process.ts'
import { createLogger } from '../logger.ts'
import { NotificationConsumer } from '../notifications/consumer.ts'
import { EXIT } from './exit-codes.ts'
import { billingFacts, notificationLine } from './notification-view.ts'
import { note, print } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

/** Follows the notifications with a private copy: billing keeps getting all of its own. */
export async function events(options: GlobalOptions): Promise<number> {
  return withSession(options, async ({ transport, notifications }) => {
    const consumer = new NotificationConsumer({
      transport,
      logger: createLogger('events', 'error'),
      names: notifications,
      tap: true,
      async onNotification(notification) {
        // One JSON document a line, so that a program can follow too.
        print(options.json ? JSON.stringify(notification) : lineWithTime(billingFacts(notification)))
      },
    })
    await consumer.start()
    if (!options.json) note(`following ${notifications.topic} on ${transport.description}; Ctrl-C ends it`)
    await aborted(onTermination(() => {}))
    await consumer.close()
    return EXIT.OK
  })
}

function lineWithTime(facts: ReturnType<typeof billingFacts>): string {
  return `${facts.timestamp.slice(11, 23)} ${notificationLine(facts)}`
}
