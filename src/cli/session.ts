import { join } from 'node:path'
import { busNames, notificationNames } from '../compose/names.ts'
import { openTransport } from '../compose/open-transport.ts'
import { ComputeApi } from '../compute/rpc-api.ts'
import { ConductorApi } from '../conductor/rpc-api.ts'
import { type Config, loadConfig } from '../config.ts'
import { InvalidArguments } from '../errors.ts'
import { createLogger } from '../logger.ts'
import type { NotificationNames } from '../notifications/notification.ts'
import { RpcClient } from '../rpc/client.ts'
import { connectBefore } from '../rpc/connect-before.ts'
import type { ClientOf } from '../rpc/contract.ts'
import { newRequestContext, type RequestContext } from '../rpc/request-context.ts'
import type { Transport } from '../rpc/transport.ts'
import { SchedulerApi } from '../scheduler/rpc-api.ts'
import type { Output } from './output.ts'

/** Options that every command has. */
export interface GlobalOptions extends Output {
  readonly config?: string
  /** Longest wait for the broker and for each answer, in seconds. */
  readonly timeout?: string
}

const MAX_TIMEOUT_SECONDS = 86_400

/** What `sevbus dev` writes beside its data, so that other commands in the same folder find it. */
export const DEV_CONFIG = join('.sevbus', 'dev', 'sevbus.toml')

/** `--config`, SEVBUS_CONFIG, ./sevbus.toml, the running `sevbus dev`; else the environment alone. */
export function loadCliConfig({ config }: Pick<GlobalOptions, 'config'>, host?: string): Config {
  return loadConfig({ file: config, fallbacks: ['sevbus.toml', DEV_CONFIG], host })
}

/** The cloud as an API tier sees it. */
export interface Session {
  readonly config: Config
  readonly context: RequestContext
  readonly conductor: ClientOf<typeof ConductorApi>
  readonly scheduler: ClientOf<typeof SchedulerApi>
  readonly compute: ClientOf<typeof ComputeApi>
  readonly transport: Transport
  readonly notifications: NotificationNames
}

/** Connects, works, closes; a broker that is not there is an error after the timeout, not a wait. */
export async function withSession<T>(options: GlobalOptions, work: (session: Session) => Promise<T>): Promise<T> {
  const config = loadCliConfig(options)
  const timeoutMs = timeoutOf(options)
  const logger = createLogger('cli', options.debug ? 'debug' : 'silent')
  let reason: string | undefined
  const transport = openTransport(config, logger, 'sevbus cli', (why) => {
    reason = why
  })
  const client = new RpcClient({
    transport,
    logger,
    names: busNames(config),
    timeoutMs,
    allowedSenders: config.transport.allowed_senders,
  })
  try {
    await connectBefore(transport, {
      signal: AbortSignal.timeout(timeoutMs),
      reason: () => reason,
      fix: 'check transport.url (SEVBUS_TRANSPORT_URL), or start everything here with: sevbus dev',
    })
    return await work({
      config,
      context: newRequestContext(),
      conductor: client.of(ConductorApi),
      scheduler: client.of(SchedulerApi),
      compute: client.of(ComputeApi),
      transport,
      notifications: notificationNames(config),
    })
  } finally {
    await client.close().catch(() => {})
    await transport.close()
  }
}

export function timeoutOf({ timeout = '10' }: Pick<GlobalOptions, 'timeout'>): number {
  const seconds = Number(timeout)
  if (seconds > 0 && seconds <= MAX_TIMEOUT_SECONDS) return seconds * 1000
  throw new InvalidArguments(
    `--timeout is ${JSON.stringify(timeout)}; write seconds, from above 0 to ${MAX_TIMEOUT_SECONDS}`,
    {
      field: '--timeout',
      value: timeout,
      fix: 'write e.g. --timeout 10',
    },
  )
}
