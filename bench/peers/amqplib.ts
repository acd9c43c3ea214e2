import { type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib'
import { RabbitAcks } from '../../dist/rpc/drivers/rabbit-acks.js'
import { writeTogether } from '../../dist/rpc/drivers/rabbit-writes.js'
import { accept, type BootReply, type BootRequest, bootEvent, bootRequest, expectReplyTo } from '../payload.ts'
import { AMQP_URL, IS_QUORUM, OPTIONS, QUEUE, runPeer } from '../peer.ts'

/**
 * amqplib by hand, as one writes it who wants nothing lost: durable queue, persistent messages, a confirm for each
 * message on both sides, an acknowledgement after the reply is confirmed, a reply queue of the client's own.
 */
async function open(): Promise<ConfirmChannel> {
  const connection = await connect(AMQP_URL, { noDelay: true })
  if (OPTIONS.tuned) writeTogether(connection, 'while busy')
  return await connection.createConfirmChannel()
}

/** Each by itself; or, tuned, those of a turn together. */
function acknowledging(channel: ConfirmChannel): (message: ConsumeMessage) => void {
  if (!OPTIONS.tuned) return (message) => channel.ack(message)
  const acks = new RabbitAcks(channel)
  return (message) => acks.ack(message)
}

const QUEUE_OPTIONS = { durable: true, arguments: IS_QUORUM ? { 'x-queue-type': 'quorum' } : {} }

function publish(channel: ConfirmChannel, exchange: string, key: string, body: object, properties: object) {
  const content = Buffer.from(JSON.stringify(body))
  return new Promise<void>((resolve, reject) => {
    const options = { persistent: true, contentType: 'application/json', ...properties }
    channel.publish(exchange, key, content, options, (error) => (error ? reject(error) : resolve()))
  })
}

async function serveCalls(): Promise<void> {
  const channel = await open()
  await channel.assertQueue(QUEUE, QUEUE_OPTIONS)
  await channel.prefetch(512)
  const acknowledge = acknowledging(channel)
  const answer = async (message: ConsumeMessage) => {
    const reply = accept(JSON.parse(message.content.toString()) as BootRequest)
    const { replyTo, correlationId } = message.properties
    await publish(channel, '', replyTo, reply, { correlationId })
    acknowledge(message)
  }
  await channel.consume(QUEUE, (message) => {
    if (message !== null) void answer(message)
  })
}

async function makeCalls() {
  const channel = await open()
  const { queue: replyTo } = await channel.assertQueue('', { exclusive: true, autoDelete: true, durable: false })
  const waiting = new Map<string, (message: ConsumeMessage) => void>()
  await channel.consume(replyTo, (message) => message && waiting.get(message.properties.correlationId)?.(message), {
    noAck: true,
  })
  let calls = 0
  return async (n: number) => {
    const request = bootRequest(n)
    const correlationId = String(calls++)
    const replied = new Promise<ConsumeMessage>((resolve) => waiting.set(correlationId, resolve))
    await Promise.all([publish(channel, '', QUEUE, request, { correlationId, replyTo }), replied])
    waiting.delete(correlationId)
    expectReplyTo(request, JSON.parse((await replied).content.toString()) as BootReply)
  }
}

async function consumeEvents(): Promise<void> {
  const channel = await open()
  await channel.assertExchange(`${QUEUE}.x`, 'topic', { durable: true })
  await channel.assertQueue(QUEUE, QUEUE_OPTIONS)
  await channel.bindQueue(QUEUE, `${QUEUE}.x`, 'boot')
  await channel.prefetch(512)
  const acknowledge = acknowledging(channel)
  await channel.consume(QUEUE, (message) => {
    if (message === null) return
    JSON.parse(message.content.toString())
    acknowledge(message)
  })
}

async function publishEvents() {
  const channel = await open()
  return (n: number) => publish(channel, `${QUEUE}.x`, 'boot', bootEvent(n), { mandatory: true })
}

await runPeer(
  OPTIONS.events ? { server: consumeEvents, client: publishEvents } : { server: serveCalls, client: makeCalls },
)
