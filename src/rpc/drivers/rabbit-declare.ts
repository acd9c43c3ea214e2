import type { EventEmitter } from 'node:events'
import type { Channel, ChannelModel } from 'amqplib'
import { SevbusError, TransportUnavailable } from '../../errors.ts'
import { abortable } from '../abortable.ts'
import type { RabbitConnection } from './rabbit-connection.ts'
import type { Declaration } from './rabbit-topology.ts'
import { mismatchOf } from './topology-mismatch.ts'

const MAX_TRIES = 5

/** Declares in order; the same twice is no change. @throws TopologyMismatch, or amqplib's error when it may pass */
export async function declareOn(channel: Channel, declarations: readonly Declaration[]): Promise<void> {
  // Some refusals end the connection, and amqplib tells the channel only that there is no answer.
  const connection = channel.connection as unknown as EventEmitter
  let ended: unknown
  const onEnd = (error: unknown) => {
    ended = error
  }
  connection.on('error', onEnd)
  try {
    for (const declaration of declarations) {
      await declareOne(channel, declaration).catch((error: unknown) => {
        throw mismatchOf(ended ?? error, declaration) ?? ended ?? error
      })
    }
  } finally {
    connection.off('error', onEnd)
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

/**
 * The same through lost connections, a few times.
 * @throws TopologyMismatch, TransportUnavailable, or the signal's reason
 */
export async function declareOver(
  connection: RabbitConnection,
  declarations: readonly Declaration[],
  signal?: AbortSignal,
): Promise<void> {
  let last: unknown
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const model = await connection.ready(signal)
    try {
      return await abortable(declareAside(model, declarations), signal)
    } catch (error) {
      if (error instanceof SevbusError || signal?.aborted) throw error
      last = error
    }
  }
  throw new TransportUnavailable(`queues and exchanges cannot be declared now: ${(last as Error).message}`)
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
