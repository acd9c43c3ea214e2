import type { Delivery, Transport } from './transport.ts'

/** How often a message had been delivered when it was sent again, counted by us. */
const HEADER = 'x-sevbus-deliveries'

/** How often it was delivered, this time included, as far as broker and header know. */
export function deliveriesOf({ deliveryCount, headers }: Delivery): number {
  const before = headers[HEADER]
  return deliveryCount + (typeof before === 'number' && Number.isSafeInteger(before) && before > 0 ? before : 0)
}

/**
 * Classic queues tell that a message was delivered before, and not how often. Such a message is sent to its queue again
 * with the number so far, and only then acknowledged: a kill in between leaves two, with the same ids.
 */
export async function sendAgainCounted(transport: Transport, delivery: Delivery): Promise<void> {
  const { queue, body, contentType, headers, expirationMs } = delivery
  const message = {
    body,
    mandatory: true,
    headers: { ...headers, [HEADER]: deliveriesOf(delivery) - 1 },
    ...(contentType !== undefined && { contentType }),
    ...(expirationMs !== undefined && { expirationMs }),
  }
  await transport.publish({ kind: 'queue', queue }, message)
  delivery.ack()
}
