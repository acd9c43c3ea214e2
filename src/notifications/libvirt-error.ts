import type { SevbusError } from '../errors.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type NotificationNames, notificationMessage } from './notification.ts'
import { LibvirtErrorPayload } from './operating-payloads.ts'
import { exceptionPayload } from './payload-builders.ts'

export interface LibvirtError {
  readonly host: string
  /** Of the machine, for who goes and looks. */
  readonly ip: string
  /** Nobody asked for it. */
  readonly context: RequestContext
  readonly error: SevbusError
  readonly at: Date
}

/** `libvirt.connect.error`: a host has no connection to its libvirt. */
export function libvirtConnectError(
  names: NotificationNames,
  { host, ip, context, error, at }: LibvirtError,
): DurableMessage {
  const reason = exceptionPayload(error, { module: 'sevbus.compute', function: 'connect_libvirt' })
  return notificationMessage(names, {
    event_type: 'libvirt.connect.error',
    priority: 'ERROR',
    publisher_id: `nova-compute:${host}`,
    context,
    payload: LibvirtErrorPayload.wrap({ ip, reason }),
    orderingKey: 'libvirt',
    at,
  })
}
