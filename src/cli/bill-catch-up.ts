import type { Logger } from 'pino'
import { catchUp } from '../billing/catch-up.ts'
import type { Followed } from '../billing/followed.ts'
import { conductorReplay } from '../conductor-replay.ts'
import type { AnyNotification } from '../notifications/notification.ts'
import { abortable, pause } from '../rpc/abortable.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import type { Session } from './session.ts'

/** How often it is looked whether the queue is read, in milliseconds. */
const LOOK_MS = 500
/** Conductors that do not answer are asked again after so long, in milliseconds, … */
const FIRST_AGAIN_MS = 10_000
/** … and in the end so seldom: a Nova has none of them. */
const LAST_AGAIN_MS = 3_600_000
const PAGE = 1000

interface Catching extends Pick<Session, 'conductor' | 'transport'> {
  /** The queue of this biller. */
  readonly queue: string
  readonly followed: Followed
  readonly handle: (notifications: readonly AnyNotification[]) => Promise<unknown>
  readonly logger: Logger
  readonly signal: AbortSignal
}

/** Once, when what waits in the queue is read: what was told and is not there, as when the queue was lost. Never throws. */
export async function catchUpOnce({ conductor, transport, queue, logger, signal, ...rest }: Catching): Promise<void> {
  async function* living() {
    for (let marker: string | undefined; ; ) {
      const page = { limit: PAGE, ...(marker !== undefined && { marker }) }
      const { instances } = await abortable(conductor.listInstanceStates(newRequestContext(), page), signal)
      if (instances.length === 0) return
      yield instances.map(({ uuid }) => uuid)
      marker = instances.at(-1)?.uuid
    }
  }
  const ask = conductorReplay(conductor)
  for (let delayMs = FIRST_AGAIN_MS; !signal.aborted; delayMs = Math.min(2 * delayMs, LAST_AGAIN_MS)) {
    try {
      while (((await transport.inspect(queue, signal))?.messages ?? 0) > 0) await pause(LOOK_MS, signal)
      signal.throwIfAborted()
      return await catchUp({ ...rest, living, replay: (gap) => abortable(ask(gap), signal) })
    } catch (err) {
      if (!signal.aborted) logger.warn({ err }, 'conductors cannot be asked now for what may be missing')
      await pause(delayMs, signal)
    }
  }
}
