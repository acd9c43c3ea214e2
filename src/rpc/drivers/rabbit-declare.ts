import type { Channel, ChannelModel } from 'amqplib'
import { TopologyMismatch } from '../../errors.ts'
import type { Declaration } from './rabbit-topology.ts'

/** AMQP's replies to a declaration that can never succeed: ACCESS_REFUSED, PRECONDITION_FAILED. */
const REFUSED = [403, 406]

/** Declares in order; the same twice is no change. @throws TopologyMismatch, or amqplib's error when it may pass */
export async function declareOn(channel: Channel, declarations: readonly Declaration[]): Promise<void> {
  for (const declaration of declarations) {
    try {
      await declareOne(channel, declaration)
    } catch (error) {
      throw asMismatch(error, declaration) ?? error
    }
  }
}

/** The same on a channel of its own, because a refusal closes the channel with all that is under way on it. */
export async function declareAside(model: ChannelModel, declarations: readonly Declaration[]): Promise<void> {
  if (declarations.length === 0) return
  const channel = await model.createChannel()
  channel.on('error', () => {})
  await declareOn(channel, declarations)
  await channel.close()
}

async function declareOne(channel: Channel, declaration: Declaration): Promise<void> {
  switch (declaration.kind) {
    case 'exchange': {
      const { name, type, durable, autoDelete } = declaration
      await channel.assertExchange(name, type, { durable, autoDelete })
      return
    }
    case 'queue': {
      const { name, durable, exclusive, autoDelete } = declaration
      await channel.assertQueue(name, { durable, exclusive, autoDelete, arguments: { ...declaration.arguments } })
      return
    }
    case 'binding':
      await channel.bindQueue(declaration.queue, declaration.exchange, declaration.routingKey)
      return
    default:
      declaration satisfies never
  }
}

function asMismatch(error: unknown, declaration: Declaration): TopologyMismatch | undefined {
  if (!(error instanceof Error && 'code' in error) || !REFUSED.includes(error.code as number)) return undefined
  const what =
    declaration.kind === 'binding'
      ? `binding of queue ${declaration.queue} to exchange ${declaration.exchange}`
      : `${declaration.kind} ${declaration.name}`
  // amqplib wraps the broker's own sentence, which names the argument and both values.
  const reason = /with message "(.*)"/s.exec(error.message)?.[1] ?? error.message
  const fix =
    error.code === 403
      ? 'give the user of the broker URL configure, write and read permission on these names'
      : `delete the ${declaration.kind} when it is empty, or configure the topology it was made with, or another prefix of the topics`
  return new TopologyMismatch(`the broker refuses the ${what}: ${reason}; ${fix}`, { what, reason, fix })
}
