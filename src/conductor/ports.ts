import type { Logger } from 'pino'
import type { Database, Queryable } from '../database/database.ts'
import type { SevbusError } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import type { RequestSpec } from '../objects/request-spec.ts'
import type { RpcClient } from '../rpc/client.ts'
import type { ClientOf } from '../rpc/contract.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import type { SchedulerApi } from '../scheduler/rpc-api.ts'

/** Messages stored in the transaction of the fact they tell, and sent after it. */
export interface Outbox {
  enqueue(tx: Queryable, messages: readonly DurableMessage[]): Promise<void>
  /** The transaction is committed: send now. */
  announce(): void
}

/** Notifications that the conductor itself sends: there is no host yet that could. */
export interface ConductorEvents {
  message(
    event: 'instance.delete.start' | 'instance.delete.end',
    context: RequestContext,
    instance: Instance,
  ): DurableMessage
  buildFailed(context: RequestContext, instance: Instance, spec: RequestSpec, error: SevbusError): DurableMessage
}

/** What the conductor works with; everything it does not own comes from outside. */
export interface ConductorPorts {
  readonly database: Database
  readonly outbox: Outbox
  readonly client: Pick<RpcClient, 'message'>
  readonly scheduler: Pick<ClientOf<typeof SchedulerApi>, 'selectDestinations'>
  readonly events: ConductorEvents
  readonly logger: Logger
  /** Tries to build an instance, each on another host. */
  readonly maxAttempts: number
  /** A try that is not heard of for so long is given up, in milliseconds. */
  readonly buildTimeoutMs: number
  readonly now: () => Date
}
