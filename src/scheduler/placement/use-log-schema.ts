import { type LogHosts, movingUseAgain } from './moving-use-schema.ts'

/** Of a host whose allocations alone have changed, what is used has changed and no more. */
export const LOG_USE_ONLY: LogHosts = (rows) => `
  insert into host_changes (host, use_only)
  select distinct p.host, true
    from (select distinct provider from ${rows}) r join resource_providers p on p.name = r.provider;
  return null;`

/**
 * Most changes of hosts are claims and releases, and all that they change is what is used. So the log tells them from the
 * others, and schedulers read no more than that (`feed.ts`). Those of the release before read the hosts whole, as ever.
 */
export const USE_LOG = `
  alter table host_changes add column use_only boolean not null default false;
${movingUseAgain(LOG_USE_ONLY)}`
