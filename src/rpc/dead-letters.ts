import { isUtf8 } from 'node:buffer'
import type { SevbusError } from '../errors.ts'
import { decompress } from './compression.ts'
import { MAX_BODY_BYTES } from './envelope.ts'
import { newMessageId } from './message-id.ts'
import { type BusNames, deadLetterQueue } from './names.ts'
import { spanContextOf, traceHeaders } from './trace-context.ts'
import type { Delivery, Destination, Transport } from './transport.ts'

/** Where dead letters are kept. */
export function deadLettersOf(names: BusNames): Destination {
  return { kind: 'queue', queue: deadLetterQueue(names), durable: true }
}

/** As far as a dead letter tells of it. */
export type DeadDelivery = Pick<Delivery, 'queue' | 'body' | 'contentType' | 'headers' | 'userId'>

/**
 * Parks a message that nobody can handle, as it came (but unpacked, if it was compressed), with the reason beside it;
 * only then is the original settled. `dead-letter-box.ts` reads it.
 *
 * By publishing and not by queue arguments: those would differ from what Python peers declare on the shared queues.
 *
 * @param from the topic it was sent to
 * @param tries how often it was worked on, here and elsewhere together, as far as it is known
 */
export async function parkDeadLetter(
  { transport, names }: { readonly transport: Transport; readonly names: BusNames },
  from: string,
  delivery: DeadDelivery,
  error: SevbusError,
  tries: number,
): Promise<void> {
  const plain = unpacked(delivery)
  const isText = isUtf8(plain)
  const span = spanContextOf(delivery.headers)
  const headers = {
    'x-sevbus-letter-id': newMessageId(),
    'x-sevbus-from': from,
    'x-sevbus-queue': delivery.queue,
    'x-sevbus-error-code': error.code,
    'x-sevbus-error': error.message.slice(0, 1000),
    'x-sevbus-tries': String(tries),
    'x-sevbus-content-type': (delivery.contentType ?? '').slice(0, 255),
    ...(delivery.userId !== undefined && { 'x-sevbus-user-id': delivery.userId }),
    'x-sevbus-encoding': isText ? 'utf8' : 'base64',
    // Replayed, it goes on in its request's trace.
    ...(span !== undefined && traceHeaders(span)),
  }
  const body = plain.toString(isText ? 'utf8' : 'base64')
  await transport.publish(deadLettersOf(names), { body, mandatory: false, headers })
}

function unpacked({ body, headers }: DeadDelivery): Buffer {
  try {
    return decompress(body, headers.compression, MAX_BODY_BYTES)
  } catch {
    return body
  }
}
