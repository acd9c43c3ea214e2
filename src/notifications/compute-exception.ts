import type { SevbusError } from '../errors.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type NotificationNames, notificationMessage } from './notification.ts'
import { exceptionPayload } from './payload-builders.ts'

export interface ComputeException {
  readonly host: string
  readonly context: RequestContext
  readonly error: SevbusError
  /** That failed, by its name on the wire. */
  readonly function: string
  readonly at: Date
}

/** `compute.exception`: something that a host was asked for has failed. Nova sends it for every method that raises. */
export function computeException(
  names: NotificationNames,
  { host, context, error, function: failed, at }: ComputeException,
): DurableMessage {
  return notificationMessage(names, {
    event_type: 'compute.exception',
    priority: 'ERROR',
    publisher_id: `nova-compute:${host}`,
    context,
    payload: exceptionPayload(error, { module: 'sevbus.compute', function: failed }),
    orderingKey: 'exceptions',
    at,
  })
}
