import type { Logger } from 'pino'
import { catchUp } from '../billing/catch-up.ts'
import type { Followed } from '../billing/followed.ts'
import { conductorLastTold, conductorReplay } from '../conductor-replay.ts'
import type { AnyNotification } from '../notifications/notification.ts'
import { pause } from '../rpc/abortable.ts'
import { Backoff } from '../rpc/backoff.ts'
import { type PageAfter, pages } from '../rpc/page.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import type { Session } from './session.ts'

/** How often it is looked whether the queue is read, in milliseconds. */
const LOOK_MS = 500
/** Conductors that do not answer are asked again after some seconds, and in the end seldom: a Nova has none of them. */
const PAUSES = { firstMs: 10_000, longestMs: 3_600_000, calmMs: 3_600_000 }
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
  const page = async (after: PageAfter) => {
    const asked = { limit: PAGE, ...after }
    return (await conductor.listInstanceStates(newRequestContext(), asked, { signal })).instances
  }
  const living = async function* () {
    for await (const instances of pages(page, ({ uuid }) => uuid)) yield instances.map(({ uuid }) => uuid)
  }
  const asked = {
    living,
    lastTold: conductorLastTold(conductor, signal),
    replay: conductorReplay(conductor, { signal }),
  }
  const backoff = new Backoff(PAUSES)
  while (!signal.aborted) {
    try {
      while (((await transport.inspect(queue, signal))?.messages ?? 0) > 0) await pause(LOOK_MS, signal)
      signal.throwIfAborted()
      return await catchUp({ ...rest, ...asked })
    } catch (err) {
      if (!signal.aborted) logger.warn({ err }, 'conductors cannot be asked now for what may be missing')
      await pause(backoff.nextMs(), signal)
    }
  }
}
