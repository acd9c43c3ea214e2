import { type ConfirmChannel, type ConsumeMessage, connect, type Options } from 'amqplib'
import { z } from 'zod'
import { RabbitAcks } from '../../dist/rpc/drivers/rabbit-acks.js'
import { writeTogether } from '../../dist/rpc/drivers/rabbit-writes.js'
import { newMessageId } from '../../dist/rpc/message-id.js'
import { accept, BootReply, BootRequest, bootEvent, bootRequest, expectReplyTo } from '../payload.ts'
import { AMQP_URL, IS_QUORUM, OPTIONS, QUEUE, runPeer } from '../peer.ts'

/**
 * What anybody pays who speaks oslo.messaging's format through amqplib: its two JSON layers, properties, exchange, queues
 * and expiration, a confirm for each message, validation by zod where sevbus has it. Nothing else of sevbus: no deadline,
 * no errors, no outcome of a message, no second connection, no repeat found, no trace, no check of numbers.
 */
const Arguments = z.object({ request: BootRequest })
const Result = z.object({ reply: BootReply })
const EXCHANGE = `${QUEUE}.x`
const QUEUE_OPTIONS = { durable: true, arguments: IS_QUORUM ? { 'x-queue-type': 'quorum' } : {} }

interface RequestMessage {
  readonly args: unknown
  readonly _msg_id: string
  readonly _reply_q: string
}
interface ReplyMessage {
  readonly result: unknown
  readonly _msg_id: string
}

async function open(): Promise<ConfirmChannel> {
  const connection = await connect(AMQP_URL, { noDelay: true })
  writeTogether(connection, 'while busy')
  const channel = await connection.createConfirmChannel()
  await channel.assertExchange(EXCHANGE, 'topic', { durable: true })
  return channel
}

function publish(channel: ConfirmChannel, exchange: string, key: string, message: object, expiration?: string) {
  const body = JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(message) })
  const properties: Options.Publish = {
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    deliveryMode: 2,
    priority: 0,
    mandatory: true,
  }
  if (expiration !== undefined) properties.expiration = expiration
  return new Promise<void>((resolve, reject) => {
    channel.publish(exchange, key, Buffer.from(body), properties, (error) => (error ? reject(error) : resolve()))
  })
}

function decode(message: ConsumeMessage): unknown {
  return JSON.parse(JSON.parse(message.content.toString())['oslo.message'])
}

/** Each message is acknowledged on arrival, as sevbus does with calls, those of a turn together. */
async function consume(onMessage: (message: ConsumeMessage) => void): Promise<ConfirmChannel> {
  const channel = await open()
  await channel.assertQueue(QUEUE, QUEUE_OPTIONS)
  await channel.bindQueue(QUEUE, EXCHANGE, QUEUE)
  await channel.prefetch(512)
  const acks = new RabbitAcks(channel)
  await channel.consume(QUEUE, (message) => {
    if (message === null) return
    acks.ack(message)
    onMessage(message)
  })
  return channel
}

async function serveCalls(): Promise<void> {
  const channel = await consume((message) => {
    const { args, _msg_id, _reply_q } = decode(message) as RequestMessage
    const result = Result.parse({ reply: accept(Arguments.parse(args).request) })
    const reply = { result, failure: null, ending: true, _msg_id, _unique_id: newMessageId() }
    void publish(channel, '', _reply_q, reply)
  })
}

async function makeCalls() {
  const channel = await open()
  const replyQueue = `reply_${newMessageId()}`
  await channel.assertQueue(replyQueue, { durable: true, arguments: { 'x-expires': 1_800_000 } })
  const waiting = new Map<string, (result: unknown) => void>()
  const onReply = (message: ConsumeMessage | null) => {
    if (message === null) return
    const { _msg_id, result } = decode(message) as ReplyMessage
    waiting.get(_msg_id)?.(result)
    waiting.delete(_msg_id)
  }
  await channel.consume(replyQueue, onReply, { noAck: true })
  return async (n: number) => {
    const request = bootRequest(n)
    const msgId = newMessageId()
    const result = new Promise<unknown>((resolve) => waiting.set(msgId, resolve))
    const message = {
      method: 'boot',
      args: { request },
      version: '1.0',
      _msg_id: msgId,
      _reply_q: replyQueue,
      _timeout: null,
      _unique_id: newMessageId(),
      _context_request_id: 'req-00000000-0000-4000-8000-000000000000',
    }
    void publish(channel, EXCHANGE, QUEUE, message, '60000')
    expectReplyTo(request, Result.parse(await result).reply)
  }
}

async function publishEvents() {
  const channel = await open()
  return (n: number) => publish(channel, EXCHANGE, QUEUE, { payload: bootEvent(n) })
}

await runPeer(
  OPTIONS.events
    ? { server: () => consume((message) => JSON.parse(message.content.toString())), client: publishEvents }
    : { server: serveCalls, client: makeCalls },
)
