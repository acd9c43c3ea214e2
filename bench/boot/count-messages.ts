import { connect } from 'amqplib'
import { decodeEnvelope } from '../../dist/rpc/envelope.js'
import type { InstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'

/** RabbitMQ publishes a copy of whatever is published here, while tracing is on ("Firehose Tracer"). */
const TRACE_EXCHANGE = 'amq.rabbitmq.trace'

export interface Counted {
  readonly count: number
  /** Of all of them together. */
  readonly bytes: number
}

/** What is published on the broker during the work, by what it is: RPC methods, replies, and notifications. */
export async function countMessages(broker: InstalledRabbitMq, work: () => Promise<void>) {
  const connection = await connect(broker.url)
  const channel = await connection.createChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, TRACE_EXCHANGE, 'publish.#')
  const counts = new Map<string, Counted>()
  await channel.consume(
    queue,
    (message) => {
      if (message === null) return
      const name = nameOf(message.content)
      const { count, bytes } = counts.get(name) ?? { count: 0, bytes: 0 }
      counts.set(name, { count: count + 1, bytes: bytes + message.content.length })
    },
    { noAck: true },
  )
  await broker.control('trace_on')
  try {
    await work()
  } finally {
    await broker.control('trace_off')
    await connection.close()
  }
  return counts
}

function nameOf(content: Buffer): string {
  const message = decodeEnvelope(content, 'application/json')
  if (typeof message.method === 'string') return message.method
  if (typeof message.event_type === 'string') return `notification ${message.event_type}`
  return 'result' in message || 'failure' in message ? 'reply' : Object.keys(message).join(' ')
}
