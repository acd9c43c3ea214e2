import type { SevbusError } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'

export type InstanceEvent =
  | 'instance.create.start'
  | 'instance.create.end'
  | 'instance.create.error'
  | 'instance.delete.start'
  | 'instance.delete.end'

/** What the worker needs from notifications: the message, which it stores and sends in its own time. */
export interface InstanceEvents {
  /**
   * @param instance in the state that the event tells of
   * @param error with `instance.create.error` only
   */
  message(event: InstanceEvent, context: RequestContext, instance: Instance, error?: SevbusError): DurableMessage
}
