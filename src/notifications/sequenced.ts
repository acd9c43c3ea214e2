import type { NotificationHandling, Offer } from './consumer-options.ts'
import type { InSequence } from './in-sequence.ts'
import type { AnyNotification } from './notification.ts'
import { numberOf } from './sequence-number.ts'

type Handle = (notifications: readonly AnyNotification[], offer: Offer) => Promise<void>
type SequencedHandling = NotificationHandling & { readonly check: (notification: AnyNotification) => unknown }
type OneByOne = (notification: AnyNotification, offer: Offer) => Promise<void>

/**
 * The same handling, given each instance's notifications in their order. What is given back does not count as handled. What is
 * alone, as all are that failed in a batch so often, is handed over singly, and so is what is missing before it: so the one that
 * fails is known, and takes no other with it. What has a number that is none is parked at once.
 */
export function sequenced(handling: NotificationHandling, sequence: InSequence<AnyNotification>): SequencedHandling {
  const { onNotification, onBatch } = handling
  const handleOne = (onNotification ?? alone(onBatch as Handle)) as OneByOne
  const one: OneByOne = (notification, offer) =>
    sequence.handleEach([notification], (each) => isHandled(offer, (watched) => handleOne(each, watched)))
  if (onBatch === undefined) return { ...handling, check: numberOf, onNotification: one } as SequencedHandling
  const many: Handle = (batch, offer) => {
    const [first] = batch
    if (batch.length === 1) return one(first as AnyNotification, offer)
    return sequence.handle(batch, (ordered) => isHandled(offer, (watched) => (onBatch as Handle)(ordered, watched)))
  }
  return { ...handling, check: numberOf, onBatch: many } as SequencedHandling
}

function alone(handle: Handle): OneByOne {
  return (notification, offer) => handle([notification], offer)
}

async function isHandled(offer: Offer, handle: (watched: Offer) => Promise<void>): Promise<boolean> {
  let handled = true
  await handle({
    requeue() {
      handled = false
      offer.requeue()
    },
  })
  return handled
}
