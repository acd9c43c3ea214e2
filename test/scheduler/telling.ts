import type { Database } from '../../src/database/database.ts'
import { DatabaseOutbox } from '../../src/database/outbox.ts'
import { DEFAULT_NOTIFICATION_NAMES } from '../../src/notifications/notification.ts'
import { OperatingEvents } from '../../src/notifications/operating-events.ts'
import { SelectionEvents } from '../../src/notifications/selection-events.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { destinationName } from '../../src/rpc/transport.ts'
import { OUTBOX_OWNER, type Telling } from '../../src/scheduler/telling.ts'

/** What a scheduler tells stays in its outbox. */
export function tellingTo(database: Database): Telling {
  const store = new DatabaseOutbox(database, { owner: OUTBOX_OWNER })
  return {
    events: new OperatingEvents(DEFAULT_NOTIFICATION_NAMES, 'scheduler-1'),
    selections: new SelectionEvents(DEFAULT_NOTIFICATION_NAMES, 'scheduler-1'),
    storing: store.storing,
    enqueue: (tx, messages) => store.enqueue(tx, messages),
    tell: (messages) => store.enqueue(database, messages),
    offer() {},
    announce() {},
  }
}

export interface ToldByScheduler {
  readonly event: string
  readonly to: string
  readonly publisher: string
  readonly data: Record<string, unknown>
}

/** All that was told since the last look. */
export async function toldIn(database: Database): Promise<readonly ToldByScheduler[]> {
  const rows = await database.query<{ destination: never; body: string }>(
    'with gone as (delete from outbox returning *) select destination, body from gone order by id',
  )
  return rows.map(({ destination, body }) => {
    const message = decodeEnvelope(Buffer.from(body), 'application/json') as never
    const { event_type: event, publisher_id: publisher, payload } = message as Record<string, unknown>
    const { 'nova_object.data': data } = payload as { 'nova_object.data': Record<string, unknown> }
    return { event: String(event), to: destinationName(destination), publisher: String(publisher), data }
  })
}
