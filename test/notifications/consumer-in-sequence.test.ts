import { expect, it, vi } from 'vitest'
import { NotificationConsumer } from '../../src/notifications/consumer.ts'
import type { NotificationConsumerOptions } from '../../src/notifications/consumer-options.ts'
import { InSequence } from '../../src/notifications/in-sequence.ts'
import { AnyNotification, DEFAULT_NOTIFICATION_NAMES } from '../../src/notifications/notification.ts'
import type { Position } from '../../src/notifications/positions.ts'
import { sequenced } from '../../src/notifications/sequenced.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { encodeEnvelope } from '../../src/rpc/envelope.ts'
import { DEFAULT_BUS_NAMES, deadLetterQueue } from '../../src/rpc/names.ts'
import { silent } from '../support/transports.ts'

const A = 'aaaaaaaa-0000-4000-8000-000000000001'

function told(sequence: number, uuid = A): AnyNotification {
  const payload = { 'nova_object.data': { uuid }, sevbus: { sequence } }
  return AnyNotification.parse({ message_id: `a${sequence}`, priority: 'INFO', payload })
}

/** Its handler never gets over a2. */
async function aConsumer() {
  const transport = new MemoryBus().connect()
  const handled: string[] = []
  const letters: string[] = []
  const known = new Map<string, Position>()
  const sequence = new InSequence<AnyNotification>({
    positions: {
      read: async () => new Map(known),
      write: async (moved) => {
        for (const [uuid, position] of moved) known.set(uuid, position)
      },
    },
    replay: async ({ from, to }) => ({
      notifications: Array.from({ length: to - from + 1 }, (_, n) => told(from + n)),
      last_sequence: 9,
    }),
  })
  const onBatch = async (batch: readonly AnyNotification[]) => {
    if (batch.some(({ message_id }) => message_id === 'a2')) throw new Error('no such project')
    handled.push(...batch.map(({ message_id }) => String(message_id)))
  }
  const handling = sequenced({ payload: 'any', onBatch, batchSize: 2, batchTimeoutMs: 1 }, sequence)
  const options = { ...handling, transport, logger: silent, maxTries: 2, retryDelayMs: 1 }
  const consumer = new NotificationConsumer(options as NotificationConsumerOptions)
  await consumer.start()
  const keep = ({ body }: { readonly body: Buffer }) => void letters.push(JSON.parse(String(body))['oslo.message'])
  await transport.listen({ kind: 'queue', queue: deadLetterQueue(DEFAULT_BUS_NAMES) }, keep, { prefetch: 0 })
  const { exchange, topic } = DEFAULT_NOTIFICATION_NAMES
  const send = (notification: AnyNotification) =>
    transport.publish(
      { kind: 'notification', exchange, topic, priority: 'info' },
      { body: encodeEnvelope(notification), mandatory: false, headers: {} },
    )
  return { consumer, handled, letters: () => letters.map((text) => JSON.parse(text).message_id), send }
}

it('a missing one that cannot be handled is put aside alone; those around it are handled once each', async () => {
  const { consumer, handled, letters, send } = await aConsumer()

  for (const sequence of [4, 5, 6]) await send(told(sequence))

  await vi.waitFor(() => expect(handled).toEqual(['a1', 'a3', 'a4', 'a5', 'a6']))
  await vi.waitFor(() => expect(letters()).toEqual(['a2']))
  await consumer.close()
})

it('one that comes itself and cannot be handled is put aside, and those after it go on', async () => {
  const { consumer, handled, letters, send } = await aConsumer()

  for (const sequence of [1, 2, 3]) await send(told(sequence))

  await vi.waitFor(() => expect(handled).toEqual(['a1', 'a3']))
  await vi.waitFor(() => expect(letters()).toEqual(['a2']))
  await consumer.close()
})

it('what is numbered for no instance is put aside at once, and what is behind it goes on', async () => {
  const { consumer, handled, letters, send } = await aConsumer()

  await send(told(5, 'not-a-uuid'))
  await send(told(0))
  await send(told(1))

  await vi.waitFor(() => expect(handled).toEqual(['a1']))
  await vi.waitFor(() => expect(letters()).toEqual(['a5', 'a0']))
  await consumer.close()
})
