import type { Channel, ChannelModel } from 'amqplib'
import { SevbusError, TransportUnavailable } from '../../errors.ts'
import { abortable } from '../abortable.ts'
import { type AnswerLimits, answered, openChannel, throwAway, toldByConnection } from './rabbit-answer.ts'
import type { RabbitConnection } from './rabbit-connection.ts'
import type { Declaration } from './rabbit-topology.ts'
import { describe, mismatchOf } from './topology-mismatch.ts'

const MAX_TRIES = 5

/**
 * Declares in order; the same twice is no change.
 * @throws TopologyMismatch, NoAnswer, the signal's reason, or amqplib's error when it may pass
 */
export async function declareOn(
  channel: Channel,
  declarations: readonly Declaration[],
  limits?: AnswerLimits,
): Promise<void> {
  for (const declaration of declarations) {
    const what = `declaring the ${describe(declaration)}`
    const declared = toldByConnection(channel, () => declareOne(channel, declaration))
    await answered(what, declared, limits).catch((error: unknown) => {
      throw mismatchOf(error, declaration) ?? error
    })
  }
}

/** The same on a channel of its own, because a refusal closes the channel with all that is under way on it. */
export async function declareAside(model: ChannelModel, declarations: readonly Declaration[]): Promise<void> {
  if (declarations.length === 0) return
  const channel = await openChannel(model)
  channel.on('error', () => {})
  try {
    await declareOn(channel, declarations)
  } catch (error) {
    throwAway(channel)
    throw error
  }
  await answered('closing a channel', channel.close())
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
