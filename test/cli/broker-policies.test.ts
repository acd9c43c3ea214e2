import { randomUUID } from 'node:crypto'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { policiesOf } from '../../src/cli/broker-policies.ts'
import { loadConfig } from '../../src/config.ts'
import { DatabaseOutbox } from '../../src/database/outbox.ts'
import { outboxMigrations } from '../../src/database/outbox-schema.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import { Relay } from '../../src/rpc/relay.ts'
import type { Delivery } from '../../src/rpc/transport.ts'
import { notRun } from '../servers/not-run.ts'
import { databaseEngines } from '../support/databases.ts'
import { ownBroker } from '../support/own-broker.ts'
import { onChannel } from '../support/raw-channel.ts'
import { silent } from '../support/transports.ts'

const config = loadConfig({ env: { SEVBUS_BILL_POOL: 'bill+1', SEVBUS_TRANSPORT_URL: 'amqp://guest:guest@h1/cloud' } })

describe('the policies for the broker', () => {
  it('bound the queues of notifications and of the bill, and no others, and refuse what is over', () => {
    const policies = policiesOf(config, 1_000_000)

    expect(policies).toEqual([
      {
        vhost: 'cloud',
        name: 'sevbus-notifications',
        pattern: '^versioned_notifications\\.[a-z]+$',
        definition: { 'max-length-bytes': 1_000_000, overflow: 'reject-publish' },
        'apply-to': 'queues',
        priority: 10,
      },
      expect.objectContaining({ name: 'sevbus-bill', pattern: '^bill\\+1$' }),
    ])
  })
})

const started = await ownBroker()

if (started === undefined) {
  notRun({
    name: 'a queue that is full by policy',
    why: 'RabbitMQ is not installed, and a container cannot be told so here',
    how: 'apt-get install rabbitmq-server',
  })
} else {
  const broker = started
  const vhost = `policies-${randomUUID()}`
  const url = `${broker.url}/${vhost}`
  await broker.control('add_vhost', vhost)
  await broker.control('set_permissions', '-p', vhost, 'guest', '.*', '.*', '.*')
  afterAll(async () => {
    await broker.control('delete_vhost', vhost)
    await broker.close()
  })

  it('what a full queue refuses waits in the outbox, is told, and goes out in its order when there is room', async () => {
    const [engine] = databaseEngines
    await using opened = await (engine as NonNullable<typeof engine>).open(outboxMigrations)
    const { name, pattern, definition } = policiesOf(config, 5_000)[0] as ReturnType<typeof policiesOf>[number]
    const bounds = JSON.stringify(definition)
    await broker.control('set_policy', '-p', vhost, '--apply-to', 'queues', '--priority', '10', name, pattern, bounds)
    const transport = new RabbitTransport({ url, logger: silent })
    onTestFinished(() => transport.close())
    await transport.connect(AbortSignal.timeout(20_000))
    const to = { kind: 'notification', exchange: 'nova', topic: 'versioned_notifications', priority: 'info' } as const
    const store = new DatabaseOutbox(opened.database, { owner: 'conductor' })
    const count = 20
    const messages = Array.from({ length: count }, (_, n) => ({
      ...{ to, mandatory: false, orderingKey: 'a' },
      body: JSON.stringify({ n, filler: 'x'.repeat(1000) }),
    }))
    await opened.database.transaction((tx) => store.enqueue(tx, messages))
    const warned: string[] = []
    const logger = { ...silent, warn: (_facts: object, text: string) => void warned.push(text) } as typeof silent
    const relay = new Relay({ store, transport, logger, pollIntervalMs: 50 })
    relay.start()
    onTestFinished(() => relay.close())

    await vi.waitFor(() => expect(transport.counts.published.refused).toBeGreaterThan(0), { timeout: 20_000 })
    await vi.waitFor(() => expect(warned[0]).toContain('message kept, not sent'), { timeout: 20_000 })
    const waiting = await store.backlog()
    const received: number[] = []
    const places = { exchange: 'nova', topics: ['versioned_notifications'], priorities: ['info'] as const }
    const take = (delivery: Delivery) => {
      received.push(JSON.parse(delivery.body.toString()).n)
      delivery.ack()
    }
    const listener = await transport.listen({ kind: 'notifications', ...places }, take, { prefetch: 64 })
    onTestFinished(() => listener.close())

    expect(waiting.messages).toBeGreaterThan(0)
    await vi.waitFor(async () => expect((await store.backlog()).messages).toBe(0), { timeout: 60_000 })
    await vi.waitFor(() => expect([...new Set(received)]).toEqual(messages.map((_, n) => n)), { timeout: 20_000 })
  }, 120_000)
  it('a sender whom a full quorum queue refused gets through once the limit is gone', async () => {
    const queue = 'was-full'
    const quorum = { durable: true, arguments: { 'x-queue-type': 'quorum' } }
    await onChannel(url, (channel) => channel.assertQueue(queue, quorum))
    const bounds = JSON.stringify({ 'max-length': 1, overflow: 'reject-publish' })
    await broker.control('set_policy', '-p', vhost, '--apply-to', 'queues', 'full', `^${queue}$`, bounds)
    const transport = new RabbitTransport({ url, logger: silent })
    onTestFinished(() => transport.close())
    const publish = () => transport.publish({ kind: 'queue', queue }, { body: '{}', mandatory: true })
    const statuses = async () => {
      const settled = await Promise.allSettled(Array.from({ length: 20 }, publish))
      return new Set(settled.map(({ status }) => status))
    }
    await vi.waitFor(async () => expect(await statuses()).toEqual(new Set(['rejected'])), { timeout: 20_000 })

    await broker.control('clear_policy', '-p', vhost, 'full')

    await vi.waitFor(async () => expect(await statuses()).toEqual(new Set(['fulfilled'])), { timeout: 30_000 })
    const kept = { messages: transport.counts.published.confirmed, consumers: 0 }
    await vi.waitFor(async () => expect(await transport.inspect(queue)).toEqual(kept), { timeout: 20_000 })
  }, 120_000)
}
