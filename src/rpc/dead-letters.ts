import type { SevbusError } from '../errors.ts'
import { type BusNames, deadLetterQueue } from './names.ts'
import type { Delivery, Transport } from './transport.ts'

/**
 * Parks a message that nobody can handle, as it came, with the reason beside it; only then is the original settled.
 *
 * By publishing and not by queue arguments: those would differ from what Python peers declare on the shared queues.
 */
export async function parkDeadLetter(
  { transport, names }: { readonly transport: Transport; readonly names: BusNames },
  from: string,
  delivery: Delivery,
  error: SevbusError,
): Promise<void> {
  const headers = {
    'x-sevbus-from': from,
    'x-sevbus-error-code': error.code,
    'x-sevbus-error': error.message.slice(0, 1000),
    'x-sevbus-deliveries': String(delivery.deliveryCount),
  }
  const to = { kind: 'queue', queue: deadLetterQueue(names) } as const
  await transport.publish(to, { body: delivery.body.toString('utf8'), mandatory: false, headers })
}
