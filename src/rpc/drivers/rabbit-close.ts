import type { ChannelModel } from 'amqplib'
import { endedWithin } from '../abortable.ts'

/** A broker that does not answer this answers nothing. */
const CLOSE_TIMEOUT_MS = 2_000

/** Ends a connection, in order when the other side still answers. Never throws. */
export async function closeConnection(model: ChannelModel): Promise<void> {
  await endedWithin(CLOSE_TIMEOUT_MS, model.close())
  destroySocket(model)
}

/** amqplib ends its socket and waits for the other side, which may be gone; then the process would not end. */
export function destroySocket(model: ChannelModel): void {
  const { stream } = model.connection as unknown as { stream?: { destroy(): void } }
  setTimeout(() => stream?.destroy(), 100).unref()
}
