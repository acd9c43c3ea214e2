import { pino } from 'pino'
import { migrate } from '../../dist/database/migrate.js'
import { DatabaseOutbox, takenAtOnce, toStore } from '../../dist/database/outbox.js'
import { outboxMigrations } from '../../dist/database/outbox-schema.js'
import { openPostgres } from '../../dist/database/postgres.js'
import { RabbitTransport } from '../../dist/rpc/drivers/rabbit.js'
import { gathered } from '../../dist/rpc/gathered.js'
import { Relay } from '../../dist/rpc/relay.js'
import { AMQP_URL, IS_QUORUM, QUEUE, runPeer } from '../peer.ts'
import { consumeNotifications, notification } from './notification.ts'

/** Notifications as a conductor sends them: stored and numbered together with others, sent, confirmed, and kept to be sent again. */
const logger = pino({ level: 'warn' }, process.stderr)
const topology = IS_QUORUM ? 'quorum' : 'classic-durable'
const transport = new RabbitTransport({ url: AMQP_URL, logger, topology })

async function publish() {
  const database = await openPostgres({ url: process.env.BENCH_DATABASE_URL ?? '', poolSize: 8 })
  await migrate(database, outboxMigrations)
  const outbox = new DatabaseOutbox(database, { owner: QUEUE })
  const waiting = new Map<string, () => void>()
  const relay = new Relay({
    transport,
    logger,
    pollIntervalMs: 1000,
    store: {
      lease: outbox.lease,
      take: (limit) => outbox.take(limit),
      postpone: (id, delayMs, reason) => outbox.postpone(id, delayMs, reason),
      sent: async (ids) => {
        const hasNext = await outbox.sent(ids)
        for (const id of ids) waiting.get(id)?.()
        return hasNext
      },
    },
  })
  relay.start()
  const { owner, leaseMs } = outbox.storing
  const store = gathered<{ readonly n: number; done?: Promise<void> }>(async (items) => {
    const messages = items.map(({ n }) => notification(n, { isNumbered: true }))
    const sql = 'select outbox_put($1, $2::jsonb, $3, $4) as kept'
    const [row] = await database.query<{ kept: [string, number][] }>(sql, [owner, ...toStore(messages), leaseMs])
    const taken = takenAtOnce(messages, row?.kept ?? [])
    if (taken.length < items.length) throw new Error('somebody else has messages of these keys')
    for (const [at, item] of items.entries()) {
      item.done = new Promise((resolve) => waiting.set(taken[at]?.id ?? '', resolve))
    }
    relay.offer(taken)
  })
  let made = 0
  return async () => {
    const item: { readonly n: number; done?: Promise<void> } = { n: made++ }
    await store(item)
    await item.done
  }
}

await runPeer({ server: () => consumeNotifications(transport), client: publish })
