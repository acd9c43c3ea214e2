import type { Queryable } from '../../../src/database/database.ts'

/**
 * What must hold of the tables when nothing is on its way, in SQL that shares nothing with what wrote them: each gives a
 * line for what is wrong.
 */
const WRONG: readonly string[] = [
  `select format('%s of %s: %s used and %s pinned, but %s and %s are allocated', i.resource_class, i.provider, i.used,
                 i.pinned, s.used, s.pinned) as problem
     from inventories i,
          lateral (select coalesce(sum(amount), 0) as used, coalesce(sum(amount) filter (where pinned), 0) as pinned
                     from allocations a where a.provider = i.provider and a.resource_class = i.resource_class) s
    where i.used <> s.used or i.pinned <> s.pinned`,

  `select format('%s of %s: %s used of (%s - %s) * %s', resource_class, provider, used, total, reserved, allocation_ratio)
          as problem
     from inventories where used > floor((total - reserved) * allocation_ratio) or pinned > total - reserved`,

  `select format('%s has %s of %s, which has no such inventory', consumer, resource_class, provider) as problem
     from allocations a
    where not exists (select from inventories i where i.provider = a.provider and i.resource_class = a.resource_class)`,

  `select format('%s is active on %s by try %s, and its claim is on %s by try %s', i.uuid, i.host, i.attempt,
                 coalesce(c.host, 'no host'), c.attempt) as problem
     from instances i left join consumers c on c.uuid = i.uuid
    where i.vm_state = 'active' and (c.host is distinct from i.host or c.attempt is distinct from i.attempt)`,

  // Exactly one allocation: one row for each of what it takes, all on its host, of its size.
  `select format('%s is active on %s with %s', i.uuid, i.host, coalesce(a.has::text, 'nothing')) as problem
     from instances i,
          lateral (select json_object_agg(resource_class || ' of ' || provider, amount) as has,
                          count(*) as rows,
                          count(*) filter (where p.host = i.host) as here,
                          sum(amount) filter (where resource_class = 'VCPU') as vcpus,
                          sum(amount) filter (where resource_class = 'DISK_GB') as disk_gb,
                          sum(amount) filter (where resource_class = 'MEMORY_MB') as memory_mb,
                          coalesce(sum(amount) filter (where resource_class = 'MEM_ENCRYPTION_CONTEXT'), 0) as slots
                     from allocations join resource_providers p on p.name = provider where consumer = i.uuid) a
    where i.vm_state = 'active'
      and (a.rows, a.here, a.slots) is distinct from
          (3 + (i.mem_encryption is not null)::int, a.rows, (i.mem_encryption is not null)::int)
       or i.vm_state = 'active'
      and ((a.vcpus, a.disk_gb) is distinct from ((i.flavor ->> 'vcpus')::int, (i.flavor ->> 'root_gb')::int)
           or a.memory_mb < (i.flavor ->> 'memory_mb')::int)`,

  `select format('consumer %s is on %s with %s allocations, and its instance is %s', c.uuid, c.host, a.rows,
                 coalesce(i.vm_state, 'not there')) as problem
     from consumers c left join instances i on i.uuid = c.uuid,
          lateral (select count(*) as rows from allocations where consumer = c.uuid) a
    where (c.host is not null or a.rows > 0) and i.vm_state is distinct from 'active'`,

  `select format('%s is %s (%s), and should be at rest', uuid, vm_state, task_state) as problem
     from instances where vm_state not in ('active', 'error', 'deleted', 'shelved_offloaded') or task_state is not null`,

  `select format('the %s %s of %s is %s, and should be over', type, uuid, instance_uuid, status) as problem
     from migrations where status not in ('completed', 'failed', 'reverted')`,

  `select format('%s is in error without a reason', uuid) as problem
     from instances where vm_state = 'error' and (fault is null or fault ->> 'code' is null)`,
  ...told(),
]

/** What was told of instances, against what they were: each fact once, to the second, under numbers without gaps. */
function told(): readonly string[] {
  const events = `
    with told as (
      select left(ordering_key, 36)::uuid as uuid, number, m ->> 'event_type' as event, m -> 'payload' -> 'nova_object.data' as data
        from (select ordering_key, number, (body::jsonb ->> 'oslo.message')::jsonb as m
                from (select ordering_key, number, body from outbox_sent
                      union all select ordering_key, number, body from outbox where number is not null) kept) read
    ), counts as (
      select i.uuid, i.vm_state, i.launched_at, i.terminated_at, i.mem_encryption is not null as is_encrypted,
             count(*) filter (where event = 'instance.create.end') as begun,
             count(*) filter (where event = 'instance.delete.end') as ended,
             count(*) filter (where event = 'slot.claimed') - count(*) filter (where event = 'slot.released') as slots,
             max(data ->> 'launched_at') filter (where event = 'instance.create.end') as told_launched,
             max(data ->> 'launched_at') filter (where event = 'instance.resize_finish.end') as told_arrived,
             count(*) filter (where event = 'instance.resize_finish.end') as arrived,
             (select count(*) from migrations v where v.instance_uuid = i.uuid and arrived_at is not null) as moves,
             (select max(arrived_at) from migrations v where v.instance_uuid = i.uuid) as arrived_at,
             (select min(started_at) from build_attempts t where t.instance_uuid = i.uuid) as asked_at,
             count(*) filter (where event = 'instance.shelve_offload.end') as put_away,
             count(*) filter (where event = 'instance.unshelve.end') as returned,
             max(data ->> 'launched_at') filter (where event = 'instance.unshelve.end') as told_returned,
             max(data ->> 'terminated_at') filter (where event = 'instance.delete.end') as told_terminated
        from instances i left join told on told.uuid = i.uuid group by i.uuid)`
  return [
    `${events} select format('%s: %s notifications, numbered %s to %s, and %s numbers were given', ordering_key, n, low, high, last)
            as problem
       from outbox_series s, lateral (select count(*) as n, count(distinct number) as numbers, min(number) as low,
                                             max(number) as high
                                        from told where uuid = left(s.ordering_key, 36)::uuid) t
      where (n, numbers, low, high) is distinct from (last, last, 1::bigint, last)`,
    `${events} select format('%s is %s since %s until %s, and told as begun %s times, at %s, and ended %s times, at %s', uuid,
                             vm_state, launched_at, terminated_at, begun, told_launched, ended, told_terminated) as problem
       from counts
      where begun <> (launched_at is not null)::int or ended <> (vm_state = 'deleted')::int
         or moves + returned = 0 and told_launched::timestamptz is distinct from date_trunc('second', launched_at)
         or moves > 0 and (told_launched is null or told_launched::timestamptz not between date_trunc('second', asked_at) and arrived_at)
         or returned > 0 and (told_launched is null or told_launched::timestamptz not between date_trunc('second', asked_at) and launched_at)
         or told_terminated::timestamptz is distinct from date_trunc('second', terminated_at)`,
    // A move that has arrived is a launch of its own, and the last one counts, wherever the instance is by now.
    `${events} select format('%s has arrived %s times, last at %s, is launched at %s, and told of as arrived %s times, last at %s',
                             uuid, moves, arrived_at, launched_at, arrived, told_arrived) as problem
       from counts
      where arrived <> moves or told_arrived::timestamptz is distinct from date_trunc('second', arrived_at)
         or moves > 0 and launched_at is distinct from arrived_at`,
    // One that came back is launched then; nothing else has been done to it.
    `${events} select format('%s is %s, launched at %s, and told of as put away %s times, and as back %s times, last at %s', uuid,
                             vm_state, launched_at, put_away, returned, told_returned) as problem
       from counts
      where returned > put_away or put_away - returned > 1
         or vm_state = 'active' and put_away <> returned or vm_state = 'shelved_offloaded' and put_away <> returned + 1
         or returned > 0 and told_returned::timestamptz is distinct from date_trunc('second', launched_at)`,
    `${events} select format('%s is %s, and charged for %s slots', uuid, vm_state, slots) as problem
       from counts where slots <> (vm_state = 'active' and is_encrypted)::int`,
  ]
}

/** @returns a line for each thing that is wrong */
export async function disagreements(database: Queryable): Promise<readonly string[]> {
  const found: string[] = []
  for (const sql of WRONG) {
    for (const { problem } of await database.query<{ problem: string }>(sql)) found.push(problem)
  }
  return found
}
