import type { KeptMessage, NumberSpan } from '../database/outbox.ts'
import { eventsKey } from '../notifications/instance-events.ts'
import { decodeEnvelope } from '../rpc/envelope.ts'
import { pageOf } from '../rpc/page.ts'
import type { ConductorPorts } from './ports.ts'

export interface Replay extends NumberSpan {
  readonly instance_uuid: string
  readonly limit: number
  readonly resend: boolean
}

/** What was told of an instance under some numbers, with the same message ids; and sent again to all, if that is wanted. */
export async function replayEvents(
  { outbox }: Pick<ConductorPorts, 'outbox'>,
  { instance_uuid, resend, limit, ...span }: Replay,
) {
  const key = eventsKey(instance_uuid)
  const events = pageOf((await outbox.kept(key, span, limit)).map(asSent))
  const last_sequence = await outbox.lastNumber(key)
  if (resend && (await outbox.sendAgain(key, span)) > 0) outbox.announce()
  return { events: [...events], last_sequence }
}

/** How far the numbers of these instances go, with the message id of what has the last one; nothing of whom nothing was told. */
export async function listLastEvents({ outbox }: Pick<ConductorPorts, 'outbox'>, instance_uuids: readonly string[]) {
  const uuids = new Map(instance_uuids.map((uuid) => [eventsKey(uuid), uuid]))
  return (await outbox.lastOf([...uuids.keys()])).map(({ ordering_key, number, body }) => ({
    instance_uuid: uuids.get(ordering_key) as string,
    sequence: number,
    message_id: body === null ? null : (asSent({ number, body }).notification.message_id as string),
  }))
}

function asSent({ number, body }: KeptMessage) {
  return { sequence: number, notification: { ...decodeEnvelope(Buffer.from(body), 'application/json') } }
}
