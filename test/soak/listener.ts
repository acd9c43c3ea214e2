import { z } from 'zod'
import { consumeNotifications } from '../../src/notification-consumer.ts'
import { type Means, member, type Work } from './member.ts'

const Payload = z.object({ id: z.string() })

member(listen)

/** Reads notifications as billing does, by the library's own door. */
async function listen({ settings, ledger, count }: Means): Promise<Work> {
  const { exchange, topic } = settings.notifications
  const consumption = await consumeNotifications({
    url: settings.url,
    exchange,
    topic,
    payload: 'any',
    priorities: ['info'],
    async onNotification({ payload, message_id }) {
      ledger.write({ type: 'notified', id: Payload.parse(payload).id, messageId: message_id })
      count()
    },
  })
  return { close: () => consumption.close() }
}
