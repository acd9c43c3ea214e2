import type { Queryable } from '../../database/database.ts'
import type { ServiceEvent, ServiceStatus } from '../../notifications/operating-events.ts'
import { AVAILABILITY_ZONE } from '../../objects/availability-zone.ts'
import type { Told } from '../telling.ts'

/** What names hosts, aggregates and groups to those who watch them, and who has made a group. */
export const NAMED_BY_UUID = `
  alter table compute_hosts add column service_uuid uuid not null default gen_random_uuid();
  alter table aggregates add column id integer generated always as identity;
  alter table aggregates add column uuid uuid not null default gen_random_uuid();
  alter table server_groups add column user_id text;
  alter table server_groups add column project_id text;
`

/** Undefined: no such host has reported. */
export async function serviceStatus(tx: Queryable, host: string): Promise<ServiceStatus | undefined> {
  const [status] = await tx.query<ServiceStatus>(
    `select service_uuid as uuid, host, disabled, disabled_reason, forced_down, last_seen_up,
            coalesce(report_sequence, 0)::double precision as report_count,
            (select a.metadata ->> '${AVAILABILITY_ZONE}' from aggregate_hosts g join aggregates a on a.name = g.aggregate
              where g.host = h.host and a.metadata ? '${AVAILABILITY_ZONE}' limit 1) as availability_zone
       from compute_hosts h where host = $1`,
    [host],
  )
  return status
}

/**
 * Tells that a service is new, or what has become of it; as in Nova only of what an operator sees: whether, and why, it is
 * disabled, and whether it is forced down.
 *
 * @param before undefined: something of that is new for sure
 */
export async function tellOfService(
  tx: Queryable,
  told: Told,
  event: ServiceEvent,
  host: string,
  before?: ServiceStatus,
): Promise<void> {
  if (told === undefined) return
  const status = await serviceStatus(tx, host)
  if (status === undefined) return
  const isSame = (['disabled', 'disabled_reason', 'forced_down'] as const).every((key) => before?.[key] === status[key])
  if (!isSame) await told.telling.enqueue(tx, [told.telling.events.service(event, told.context, status)])
}
