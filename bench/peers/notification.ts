import { notificationMessage } from '../../dist/notifications/notification.js'
import type { DurableMessage } from '../../dist/rpc/durable-message.js'
import { newRequestContext } from '../../dist/rpc/request-context.js'
import type { Transport } from '../../dist/rpc/transport.js'
import { bootEvent } from '../payload.ts'
import { QUEUE } from '../peer.ts'

/** What our senders of stored notifications have in common. */
const names = { exchange: `${QUEUE}.x`, topic: QUEUE }

const context = newRequestContext({ project_id: 'blue', user_id: 'ada' })
const extension = { version: '1.2', mem_encryption: null, launch_extra_specs: {}, slot: null }

/** @param isNumbered only tables can count */
export function notification(n: number, { isNumbered = false } = {}): DurableMessage {
  return notificationMessage(names, {
    event_type: 'instance.create.end',
    priority: 'INFO',
    publisher_id: 'nova-compute:node1',
    context,
    payload: bootEvent(n),
    ...(isNumbered && { extension }),
    orderingKey: `${n}/events`,
    at: new Date(),
  })
}

export async function consumeNotifications(transport: Transport): Promise<void> {
  const read = (delivery: { body: Buffer; ack(): void }) => {
    JSON.parse(delivery.body.toString())
    delivery.ack()
  }
  const source = {
    kind: 'notifications',
    exchange: names.exchange,
    topics: [names.topic],
    priorities: ['info'],
  } as const
  await transport.listen(source, read, { prefetch: 512 })
}
