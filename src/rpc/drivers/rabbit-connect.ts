import { type EventEmitter, setMaxListeners } from 'node:events'
import { type ChannelModel, connect, credentials } from 'amqplib'
import { InvalidConfiguration, TransportUnavailable } from '../../errors.ts'
import { abortable, endedWithin } from '../abortable.ts'
import type { BrokerSettings } from './broker-settings.ts'
import { describeLoginTrouble } from './login-trouble.ts'
import type { Blockage } from './rabbit-blockage.ts'
import { closeConnection, destroySocket } from './rabbit-close.ts'
import { userIdProblem } from './rabbit-identity.ts'
import { endAtOpening, letListenersBeFirst } from './rabbit-opening.ts'
import { type Gathering, writeTogether } from './rabbit-writes.ts'
import { tlsOptions } from './tls-files.ts'
import { describeTlsTrouble, isCutOff } from './tls-trouble.ts'
import type { BrokerHost } from './transport-url.ts'

/** For TCP, TLS and AMQP's handshake together. */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** What one connection is to the broker, and how it writes. */
export interface ConnectionIdentity {
  /** What the broker shows as the connection's name. */
  readonly name: string
  /** Who we will say that we are; undefined when we say nothing. */
  readonly userId: string | undefined
  readonly gathering: Gathering
}

/**
 * One try to connect to one host, whose certificate is checked by its own name.
 *
 * @param blockage watches the connection from its beginning
 * @param stop ends the wait for a broker that takes no messages now
 * @throws InvalidConfiguration when a file of TLS or the name is not what it should be, TransportUnavailable with the
 *   reason
 */
export async function connectTo(
  host: BrokerHost,
  settings: BrokerSettings,
  { name, userId, gathering }: ConnectionIdentity,
  blockage: Blockage,
  stop: AbortSignal,
): Promise<ChannelModel> {
  const model = await open(host, settings, name)
  const end = await endAtOpening(model)
  if (end !== undefined) {
    destroySocket(model)
    throw new TransportUnavailable(end)
  }
  // Before the first channel: by amqplib's own way the answer to a channel that the broker closes would be overtaken by
  // the opening of the next, which has its number, and RabbitMQ ends the connection (504, second 'channel.open' seen).
  writeTogether(model, gathering)
  // Whoever declares something listens for its end.
  setMaxListeners(0, model.connection as unknown as EventEmitter)
  blockage.watch(model)
  if (userId === undefined) return model
  let problem: Error | undefined
  const keep = (error: Error | undefined) => {
    problem ??= error
  }
  model.on('error', keep)
  // Asked to go, it ends without an error, and nobody watches it yet.
  model.on('close', () => keep(new Error('the connection was closed')))
  const checked = abortable(userIdProblem(model, userId).then(keep, keep), stop)
  while (!(await endedWithin(HANDSHAKE_TIMEOUT_MS, checked))) {
    // While it takes no messages it confirms none, and a new connection would get no further.
    if (blockage.reason === undefined) keep(new Error('it does not confirm a message'))
    if (problem !== undefined) break
  }
  if (problem === undefined) return model
  await closeConnection(model)
  throw problem instanceof InvalidConfiguration ? problem : new TransportUnavailable(problem.message)
}

async function open(host: BrokerHost, settings: BrokerSettings, name: string): Promise<ChannelModel> {
  const { hostname, port } = host
  const { tls, heartbeatSeconds: heartbeat } = settings
  // amqplib decodes the vhost of an options object, too.
  const vhost = encodeURIComponent(settings.vhost)
  const secure = tls && (await tlsOptions(tls))
  letListenersBeFirst()
  try {
    return await connect(
      { protocol: tls ? 'amqps' : 'amqp', hostname, port, vhost, heartbeat },
      {
        // Without it every reply waits 40 ms for the acknowledgement of the write before it (Nagle's algorithm).
        noDelay: true,
        timeout: HANDSHAKE_TIMEOUT_MS,
        clientProperties: { connection_name: name },
        credentials: loginOf(settings, host),
        ...secure,
      },
    )
  } catch (error) {
    throw new TransportUnavailable(await describe(error as NodeJS.ErrnoException, host, settings))
  }
}

function loginOf({ loginMethod }: BrokerSettings, { username, password }: BrokerHost) {
  switch (loginMethod) {
    case 'PLAIN':
      return credentials.plain(username, password)
    case 'AMQPLAIN':
      return credentials.amqplain(username, password)
    case 'EXTERNAL':
      return credentials.external()
    default:
      return loginMethod satisfies never
  }
}

async function describe(error: NodeJS.ErrnoException, host: BrokerHost, settings: BrokerSettings): Promise<string> {
  const { tls } = settings
  const trouble = tls && (await describeTlsTrouble(error, host, tls))
  if (trouble !== undefined) return trouble
  // With several addresses behind one name Node gives an AggregateError whose own message is empty.
  const text = error.message || error.code || String(error)
  if (tls === undefined && isCutOff(error)) return `${text}; a port for TLS needs amqps:// (or ssl=1)`
  return describeLoginTrouble(text, host, settings) ?? text
}
