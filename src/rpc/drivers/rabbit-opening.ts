import { createRequire } from 'node:module'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { ChannelModel } from 'amqplib'
import { hasEnded } from './rabbit-close.ts'

/** amqplib's connections: the package exports no class of theirs, and gives none away before it is open. */
interface Connections {
  readonly Connection: { readonly prototype: { acceptLoop(): void } }
}

let isMended = false

/**
 * amqplib 2.3.1 reads what comes in one go with `connection.open-ok` before anybody can listen. If that is a `connection.close` it is
 * told to nobody, or, with another code than 320 or 200, is an error that nobody handles, which ends the process. From now on it reads on in
 * the next turn of the event loop, when whoever has connected listens: on all connections of this process, which lose nothing by it.
 */
export function letListenersBeFirst(): void {
  if (isMended) return
  isMended = true
  const inside = createRequire(createRequire(import.meta.url).resolve('amqplib'))
  const { prototype } = (inside('./lib/connection.js') as Connections).Connection
  const { acceptLoop } = prototype
  prototype.acceptLoop = function () {
    setImmediate(() => Reflect.apply(acceptLoop, this, []))
  }
}

/**
 * Waits for what came in one go with the opening of a connection.
 * @returns why it is over already; undefined: it is open
 */
export async function endAtOpening(model: ChannelModel): Promise<string | undefined> {
  let told: string | undefined
  const keep = (error: Error | undefined) => {
    told ??= error?.message
  }
  model.on('error', keep)
  model.on('close', keep)
  await nextTurn()
  const end = 'the broker closed the connection as it was opened'
  return hasEnded(model) ? [end, told].filter((each) => each !== undefined).join(': ') : undefined
}
