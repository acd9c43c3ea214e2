import { join } from 'node:path'
import { pino } from 'pino'
import { Journal, queued } from '../../dist/compute/journal/journal.js'
import { RabbitTransport } from '../../dist/rpc/drivers/rabbit.js'
import { Relay } from '../../dist/rpc/relay.js'
import { AMQP_URL, FOLDER, IS_QUORUM, QUEUE, runPeer } from '../peer.ts'
import { consumeNotifications, notification } from './notification.ts'

/** Notifications as a compute worker sends them: written to its journal and flushed, sent, confirmed, and the journal told so. */
const logger = pino({ level: 'warn' }, process.stderr)
const topology = IS_QUORUM ? 'quorum' : 'classic-durable'
const transport = new RabbitTransport({ url: AMQP_URL, logger, topology })

async function publish() {
  const onBroken = (error: unknown) => {
    throw error
  }
  const journal = await Journal.open({ folder: join(FOLDER, 'journal'), host: QUEUE, onBroken })
  const waiting = new Map<string, () => void>()
  const relay = new Relay({
    transport,
    logger,
    pollIntervalMs: 250,
    store: {
      take: (limit) => journal.take(limit),
      postpone: (id, delayMs) => journal.postpone(id, delayMs),
      sent: async (ids) => {
        const hasNext = await journal.sent(ids)
        for (const id of ids) {
          waiting.get(id)?.()
          waiting.delete(id)
        }
        return hasNext
      },
    },
  })
  relay.start()
  let made = 0
  return async () => {
    const record = queued([notification(made++)])
    const id = record.type === 'queued' ? record.messages[0]?.id : undefined
    const sent = new Promise<void>((resolve) => waiting.set(id ?? '', resolve))
    await journal.append([record])
    relay.announce()
    await sent
  }
}

await runPeer({ server: () => consumeNotifications(transport), client: publish })
