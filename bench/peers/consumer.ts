import { readFileSync } from 'node:fs'
import { connect } from 'amqplib'
import { pino } from 'pino'
import { NotificationConsumer } from '../../dist/notifications/consumer.js'
import { RabbitTransport } from '../../dist/rpc/drivers/rabbit.js'
import { encodeEnvelope } from '../../dist/rpc/envelope.js'
import { AMQP_URL, IS_QUORUM, OPTIONS, QUEUE, runPeer } from '../peer.ts'

/** The same notifications, read in the way that is asked for. */
const place = { exchange: `${QUEUE}.x`, key: `${QUEUE}.info` }
const queueOptions = { durable: true, arguments: IS_QUORUM ? { 'x-queue-type': 'quorum' } : {} }
/** Both keep as many in hand. */
const PREFETCH = 64

async function bare(): Promise<void> {
  const channel = await (await connect(AMQP_URL, { noDelay: true })).createChannel()
  await channel.assertExchange(place.exchange, 'topic', { durable: true })
  await channel.assertQueue(place.key, queueOptions)
  await channel.bindQueue(place.key, place.exchange, place.key)
  await channel.prefetch(PREFETCH)
  await channel.consume(place.key, (message) => {
    if (message === null) return
    // oslo.messaging's message is a text within a message.
    const { 'oslo.message': text } = JSON.parse(message.content.toString())
    if (JSON.parse(text).payload === undefined) throw new Error('no payload')
    channel.ack(message)
  })
}

async function ours(): Promise<void> {
  const logger = pino({ level: 'warn' }, process.stderr)
  const transport = new RabbitTransport({ url: AMQP_URL, logger, topology: IS_QUORUM ? 'quorum' : 'classic-durable' })
  const handling = OPTIONS.batches
    ? { onBatch: async () => {}, batchSize: PREFETCH, batchTimeoutMs: 100 }
    : { onNotification: async () => {} }
  const names = { exchange: place.exchange, topic: QUEUE }
  await new NotificationConsumer({ transport, logger, names, priorities: ['info'], ...handling }).start()
}

async function publish() {
  const channel = await (await connect(AMQP_URL, { noDelay: true })).createConfirmChannel()
  const sample = JSON.parse(readFileSync('../docs/notifications/instance-create-end.json', 'utf8'))
  return (n: number) =>
    new Promise<void>((resolve, reject) => {
      const body = encodeEnvelope({ message_id: `${QUEUE}-${process.pid}-${n}-${performance.now()}`, ...sample })
      const options = { persistent: true, contentType: 'application/json', contentEncoding: 'utf-8' }
      const done = (error: unknown) => (error ? reject(error) : resolve())
      channel.publish(place.exchange, place.key, Buffer.from(body), options, done)
    })
}

await runPeer({ server: OPTIONS.bare ? bare : ours, client: publish })
