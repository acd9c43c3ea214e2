import type { NotificationHandling, Offer } from './consumer-options.ts'
import type { InSequence } from './in-sequence.ts'
import type { AnyNotification } from './notification.ts'

type Handle = (notifications: readonly AnyNotification[], offer: Offer) => Promise<void>

/** The same handling, given each instance's notifications in their order. What is given back does not count as handled. */
export function sequenced(handling: NotificationHandling, sequence: InSequence<AnyNotification>): NotificationHandling {
  const { onNotification, onBatch } = handling
  const handle = (onBatch ?? oneByOne(onNotification as OneByOne)) as Handle
  const inOrder: Handle = (batch, offer) =>
    sequence.handle(batch, async (ordered) => {
      let isHandled = true
      const requeue = () => {
        isHandled = false
        offer.requeue()
      }
      await handle(ordered, { requeue })
      return isHandled
    })
  const one: OneByOne = (notification, offer) => inOrder([notification], offer)
  return { ...handling, ...(onBatch ? { onBatch: inOrder } : { onNotification: one }) } as NotificationHandling
}

type OneByOne = (notification: AnyNotification, offer: Offer) => Promise<void>

function oneByOne(handle: OneByOne): Handle {
  return async (notifications, offer) => {
    for (const notification of notifications) await handle(notification, offer)
  }
}
