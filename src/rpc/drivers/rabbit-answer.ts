import type { EventEmitter } from 'node:events'
import type { Channel, ChannelModel } from 'amqplib'
import { abortable, endedWithin } from '../abortable.ts'

/** Longer than RabbitMQ's `channel_operation_timeout` of 15 s, after which it gives a reason of its own. */
const ANSWER_TIMEOUT_MS = 20_000
const INTERNAL_ERROR = 541

/** The connection is well, for heartbeats come, and what was asked on a channel stays without an answer. */
export class NoAnswer extends Error {}

/** How long an answer is waited for. */
export interface AnswerLimits {
  /** In milliseconds; 20 s when absent. */
  readonly answerTimeoutMs?: number | undefined
  /** Ends the wait before that. */
  readonly signal?: AbortSignal | undefined
}

/**
 * What the broker answers. Without a limit whoever asks it about a queue that hangs there waits for ever, and says nothing.
 *
 * @param what for people: `consuming from compute.node1`
 * @throws NoAnswer when the time is over (the question itself stays asked), the signal's reason, or as `answer` does
 */
export async function answered<T>(
  what: string,
  answer: Promise<T>,
  { answerTimeoutMs = ANSWER_TIMEOUT_MS, signal }: AnswerLimits = {},
): Promise<T> {
  if (await abortable(endedWithin(answerTimeoutMs, answer), signal)) return await answer
  throw new NoAnswer(`the broker has not answered within ${answerTimeoutMs} ms: ${what}`)
}

/** A new channel; one that comes too late is closed, for nobody else knows of it. @throws as `answered` */
export async function openChannel(model: ChannelModel, limits?: AnswerLimits): Promise<Channel> {
  const opening = model.createChannel()
  try {
    return await answered('opening a channel', opening, limits)
  } catch (error) {
    opening.then(throwAway, () => {})
    throw error
  }
}

/** Closes a channel that is of no more use, and waits for nothing: the broker gives back what is unsettled on it. */
export function throwAway(channel: Channel): void {
  // It fails where the channel or its connection is closed already.
  channel.close().catch(() => {})
}

/**
 * As `ask`, but throws the connection's error where there was one: some refusals end the connection, and amqplib tells the
 * channel only that there is no answer.
 */
export async function toldByConnection<T>(channel: Channel, ask: () => Promise<T>): Promise<T> {
  const connection = channel.connection as unknown as EventEmitter
  let ended: unknown
  const onEnd = (error: unknown) => {
    ended = error
  }
  connection.on('error', onEnd)
  try {
    return await ask()
  } catch (error) {
    throw ended ?? error
  } finally {
    connection.off('error', onEnd)
  }
}

/**
 * Names the queue, and says what to do about one that RabbitMQ has lost (`state` down, after a crash). That ends the connection,
 * so all who ask anything on it at the time hear the same, whichever queue it is.
 */
export function consumeTrouble(queue: string, error: unknown): Error {
  const { message, code } = error as Error & { readonly code?: unknown }
  const isInternal = code === INTERNAL_ERROR
  const fix = `; if that goes on, see the state of this queue and of others of the connection (rabbitmqctl list_queues name state): one that stays down has lost what was in it, and is declared again once it is deleted`
  return Object.assign(new Error(`consuming from ${queue}: ${message}${isInternal ? fix : ''}`, { cause: error }), {
    code,
  })
}
