import { pino } from 'pino'
import { migrate } from '../../dist/database/migrate.js'
import { DatabaseOutbox, takenAtOnce, toStore } from '../../dist/database/outbox.js'
import { outboxMigrations } from '../../dist/database/outbox-schema.js'
import { openPostgres } from '../../dist/database/postgres.js'
import { notificationMessage } from '../../dist/notifications/notification.js'
import { RabbitTransport } from '../../dist/rpc/drivers/rabbit.js'
import { gathered } from '../../dist/rpc/gathered.js'
import { Relay } from '../../dist/rpc/relay.js'
import { newRequestContext } from '../../dist/rpc/request-context.js'
import { bootEvent } from '../payload.ts'
import { AMQP_URL, IS_QUORUM, QUEUE, runPeer } from '../peer.ts'

/** Notifications as a conductor sends them: stored and numbered together with others, sent, confirmed, and kept to be sent again. */
const logger = pino({ level: 'warn' }, process.stderr)
const topology = IS_QUORUM ? 'quorum' : 'classic-durable'
const transport = new RabbitTransport({ url: AMQP_URL, logger, topology })
const names = { exchange: `${QUEUE}.x`, topic: QUEUE }

async function consume() {
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
  const context = newRequestContext({ project_id: 'blue', user_id: 'ada' })
  const { owner, leaseMs } = outbox.storing
  const store = gathered<{ readonly n: number; done?: Promise<void> }>(async (items) => {
    const messages = items.map(({ n }) =>
      notificationMessage(names, {
        event_type: 'instance.create.end',
        priority: 'INFO',
        publisher_id: 'nova-compute:node1',
        context,
        payload: bootEvent(n),
        extension: { version: '1.2', mem_encryption: null, launch_extra_specs: {}, slot: null },
        orderingKey: `${n}/events`,
        at: new Date(),
      }),
    )
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

await runPeer({ server: consume, client: publish })
