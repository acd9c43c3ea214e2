import type { Logger } from 'pino'
import type { ComputeApi } from '../compute/rpc-api.ts'
import type { Database, Queryable } from '../database/database.ts'
import type { DatabaseOutbox } from '../database/outbox.ts'
import type { InstanceEvents } from '../notifications/instance-events.ts'
import type { RpcClient } from '../rpc/client.ts'
import type { ClientOf } from '../rpc/contract.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { SchedulerApi } from '../scheduler/rpc-api.ts'
import type { AskForHost } from './ask-together.ts'
import type { consoleMethods } from './console-methods.ts'
import type { Steps, StoringOutbox } from './steps.ts'

/** Messages stored in the transaction of the fact they tell, and sent after it; those with numbers are kept a while. */
export interface Outbox extends StoringOutbox, Pick<DatabaseOutbox, 'kept' | 'sendAgain' | 'lastNumber' | 'lastOf'> {
  /** @param options.delayMs sent no sooner */
  enqueue(tx: Queryable, messages: readonly DurableMessage[], options?: { readonly delayMs?: number }): Promise<void>
}

/** Notifications of what is decided here: an accepted build, a deletion without a host, a build without one. */
export type ConductorEvents = Pick<
  InstanceEvents,
  | ('message' | 'resizePrep' | 'buildFailed' | 'rebuildFailed' | 'migrationFailed')
  | ('update' | 'exists' | 'existsSoFar' | 'slot' | 'onBehalfOf' | 'onBehalfOfApi')
>

/** What hosts are asked, beside the addresses of consoles: whether they could take part in a move. */
type Asked =
  | (keyof typeof consoleMethods | 'prepResize')
  | ('checkCanLiveMigrateSource' | 'checkCanLiveMigrateDestination' | 'preLiveMigration')

/** What the conductor works with; everything it does not own comes from outside. */
export interface ConductorPorts {
  readonly database: Database
  readonly outbox: Outbox
  readonly steps: Steps
  readonly client: Pick<RpcClient, 'message'>
  readonly scheduler: Pick<ClientOf<typeof SchedulerApi>, 'selectDestinationsOfBatch' | 'listHosts'>
  readonly askForHost: AskForHost
  /** Of the hosts: asked, never told, but by stored messages. */
  readonly compute: Pick<ClientOf<typeof ComputeApi>, Asked>
  readonly events: ConductorEvents
  readonly logger: Logger
  /** Tries to build an instance, each on another host. */
  readonly maxAttempts: number
  /** A try that is not heard of for so long is given up, in milliseconds. */
  readonly buildTimeoutMs: number
  /** An instance may be resized where it is. */
  readonly allowResizeToSameHost: boolean
  readonly now: () => Date
}
