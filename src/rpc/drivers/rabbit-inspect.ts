import { type ChannelModel, IllegalOperationError } from 'amqplib'
import { TransportUnavailable } from '../../errors.ts'
import type { QueueState } from '../transport.ts'
import { answered, openChannel, throwAway } from './rabbit-answer.ts'

const NOT_FOUND = 404

/**
 * A passive declaration, on a channel of its own because an answer that there is no such queue closes it.
 * @throws TransportUnavailable
 */
export async function inspectQueue(model: ChannelModel, name: string): Promise<QueueState | undefined> {
  try {
    const channel = await openChannel(model)
    channel.on('error', () => {})
    try {
      const looked = await answered('looking at it', channel.checkQueue(name))
      return { messages: looked.messageCount, consumers: looked.consumerCount }
    } finally {
      throwAway(channel)
    }
  } catch (error) {
    if ((error as { readonly code?: unknown }).code === NOT_FOUND) return undefined
    const reason = error instanceof IllegalOperationError ? 'the connection was lost' : (error as Error).message
    throw new TransportUnavailable(`the queue ${name} cannot be looked at now: ${reason}`, { queue: name })
  }
}
