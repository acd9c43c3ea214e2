import { pino } from 'pino'
import { ComputeApi } from './compute/rpc-api.ts'
import { ConductorApi } from './conductor/rpc-api.ts'
import { RpcClient } from './rpc/client.ts'
import { connectBefore } from './rpc/connect-before.ts'
import type { ClientOf } from './rpc/contract.ts'
import type { BrokerOptions } from './rpc/drivers/broker-settings.ts'
import { RabbitTransport } from './rpc/drivers/rabbit.ts'
import { DEFAULT_BUS_NAMES } from './rpc/names.ts'
import { SchedulerApi } from './scheduler/rpc-api.ts'

export { SevbusError } from './errors.ts'
export type { CallOptions, ClientOf } from './rpc/contract.ts'
export { newRequestContext, type RequestContext } from './rpc/request-context.ts'

/** Where the broker is, TLS, and what is declared there: as the workers are configured in [transport]. */
export interface ConnectOptions extends BrokerOptions {
  /** As the workers are configured: transport.exchange and transport.topic_prefix. */
  readonly exchange?: string
  readonly topicPrefix?: string
  /** Users of the broker whose replies are taken; without any, everyone's. */
  readonly allowedSenders?: readonly string[]
  /** Longest wait for an answer, in milliseconds; each call can have its own. */
  readonly timeoutMs?: number
  /** Stops waiting for the broker; without it, that is after 30 s. */
  readonly signal?: AbortSignal
}

/** The workers as an API tier calls them: every method of their contracts, typed. */
export interface SevbusClient extends AsyncDisposable {
  readonly conductor: ClientOf<typeof ConductorApi>
  readonly scheduler: ClientOf<typeof SchedulerApi>
  /** Name the host with `{ server: host }` in the options of each call. */
  readonly compute: ClientOf<typeof ComputeApi>
  close(): Promise<void>
}

/**
 * Connects to the broker that the workers share; reconnects by itself until closed.
 *
 * While the broker takes no messages it connects all the same, and calls say so when their time is over.
 *
 * @throws TransportUnavailable when the broker was not there in time, the signal's reason when it is no timeout,
 *   InvalidConfiguration
 * @example
 * await using sevbus = await connect({ url: 'amqp://guest:guest@localhost:5672/' })
 * const { instances } = await sevbus.conductor.buildInstances(newRequestContext({ project_id }), { name, flavor, image })
 */
export async function connect(options: ConnectOptions): Promise<SevbusClient> {
  const { timeoutMs = 60_000, signal = AbortSignal.timeout(30_000), allowedSenders = [], ...rest } = options
  const { exchange, topicPrefix, ...broker } = { ...DEFAULT_BUS_NAMES, ...rest }
  const logger = pino({ level: 'silent' })
  let reason: string | undefined
  const onWaiting = (why: string) => {
    reason = why
  }
  const transport = new RabbitTransport({ ...broker, logger, connectionName: 'sevbus client', onWaiting })
  const client = new RpcClient({ transport, logger, names: { exchange, topicPrefix }, timeoutMs, allowedSenders })
  const close = async () => {
    await client.close()
    await transport.close()
  }
  try {
    await connectBefore(transport, { signal, reason: () => reason, fix: 'check the url given to connect()' })
  } catch (error) {
    await close()
    throw error
  }
  return {
    conductor: client.of(ConductorApi),
    scheduler: client.of(SchedulerApi),
    compute: client.of(ComputeApi),
    close,
    [Symbol.asyncDispose]: close,
  }
}
