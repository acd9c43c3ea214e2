import { movingUseAgain } from './accounting-schema.ts'

/**
 * Most changes of hosts are claims and releases, and all that they change is what is used. So the log tells them from the
 * others, and schedulers read no more than that (`feed.ts`). Those of the release before read the hosts whole, as ever.
 */
export const USE_LOG = `
  alter table host_changes add column use_only boolean not null default false;
${movingUseAgain(
  (rows) => `
  insert into host_changes (host, use_only)
  select distinct p.host, true
    from (select distinct provider from ${rows}) r join resource_providers p on p.name = r.provider;
  return null;`,
)}`
