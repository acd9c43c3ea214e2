import type { Duplex } from 'node:stream'
import type { ChannelModel } from 'amqplib'
import { endedWithin } from '../abortable.ts'

/** A broker that does not answer this answers nothing. */
const CLOSE_TIMEOUT_MS = 2_000

/** Ends a connection, in order when the other side still answers. Never throws. */
export async function closeConnection(model: ChannelModel): Promise<void> {
  await endedWithin(CLOSE_TIMEOUT_MS, model.close())
  destroySocket(model)
}

/**
 * amqplib ends its socket and waits for the other side, which may be gone; then the process would not end. By an error, for of
 * nothing else does amqplib hear: while it still waits to be closed in order, all channels wait with it.
 */
export function destroySocket(model: ChannelModel): void {
  const stream = streamOf(model)
  setTimeout(() => stream?.destroy(new Error('the connection was given up')), 100).unref()
}

/** Whether it is over already. */
export function hasEnded(model: ChannelModel): boolean {
  const stream = streamOf(model)
  return stream !== undefined && (stream.writableEnded || stream.destroyed)
}

/** What amqplib 2 has inside: its socket. */
function streamOf(model: ChannelModel): Duplex | undefined {
  return (model.connection as unknown as { readonly stream?: Duplex }).stream
}
