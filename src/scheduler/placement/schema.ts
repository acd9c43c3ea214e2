import type { Migration } from '../../database/migration.ts'
import { ACCOUNTING } from './accounting-schema.ts'
import { AGGREGATES } from './aggregates-schema.ts'
import { BUILD_OUTCOMES, SUCCESSES_AT_REST } from './build-outcomes.ts'
import { CLAIM_ARRAYS } from './claim-arrays-schema.ts'
import { CLAIM_GROUPS } from './claim-group-schema.ts'
import { ENCRYPTION_MODE } from './encryption-mode-schema.ts'
import { EVACUATIONS } from './evacuations-schema.ts'
import { FEED, VERSIONS_BY_TIME } from './feed-schema.ts'
import { LIGHTER_COUNTING } from './lighter-counting-schema.ts'
import { LIVE_MIGRATIONS, MOVES } from './moves-schema.ts'
import { PINNED_MEMORY } from './pinned-memory-schema.ts'
import { REBUILDS } from './rebuilds-schema.ts'
import { SERVER_GROUPS } from './server-groups-schema.ts'
import { NAMED_BY_UUID } from './service-status.ts'
import { CLAIM_REFUSED_STATE, USE_GUARDED_STATE } from './sql-states.ts'
import { USE_LOG } from './use-log-schema.ts'
import { WORKERS } from './workers-schema.ts'

/**
 * Hosts, resource providers in trees, inventories, traits, consumers, allocations: OpenStack Placement's words.
 *
 * `inventories.used` moves with the allocations and with nothing else, and never above the capacity: a trigger sees to
 * it, so it holds for whoever writes, by hand or by a defect of ours.
 */
const TABLES = `
  create table compute_hosts (
    host                    text primary key,
    -- What its last report says beside the providers.
    facts                   jsonb not null,
    -- The provider that is the host itself.
    root_provider           text not null,
    report_interval_seconds double precision not null,
    report_digest           text not null,
    -- False while something is kept that the host offers no more, for the sake of its allocations.
    settled                 boolean not null,
    last_seen_up            timestamptz not null,
    disabled                boolean not null default false,
    disabled_reason         text
  );

  create table resource_providers (
    name        text primary key,
    host        text not null references compute_hosts (host),
    parent_name text references resource_providers (name),
    generation  integer not null default 0
  );
  create index resource_providers_of_host on resource_providers (host);

  create table provider_traits (
    provider text not null references resource_providers (name) on delete cascade,
    trait    text not null,
    primary key (provider, trait)
  );

  create table inventories (
    provider         text not null references resource_providers (name),
    resource_class   text not null,
    total            integer not null check (total > 0),
    reserved         integer not null check (reserved between 0 and total),
    min_unit         integer not null check (min_unit > 0),
    max_unit         integer not null check (max_unit >= min_unit),
    step_size        integer not null check (step_size > 0),
    allocation_ratio double precision not null check (allocation_ratio > 0 and allocation_ratio <= 1000),
    used             bigint not null default 0 check (used >= 0),
    -- False: the host offers it no more; kept until its last allocation is gone.
    offered          boolean not null default true,
    primary key (provider, resource_class)
  );

  create table consumers (
    uuid         uuid primary key,
    -- The try that holds the allocations, or the last that did.
    attempt      integer not null,
    -- Tries up to this one were given back, and may not claim any more.
    void_through integer not null default 0,
    -- Null: it holds nothing.
    host         text,
    report       jsonb,
    changed_at   timestamptz not null default now()
  );
  create index consumers_of_host on consumers (host) where host is not null;

  create table allocations (
    consumer       uuid not null references consumers (uuid),
    provider       text not null,
    resource_class text not null,
    amount         integer not null check (amount > 0),
    primary key (consumer, provider, resource_class),
    foreign key (provider, resource_class) references inventories (provider, resource_class)
  );
  create index allocations_of_inventory on allocations (provider, resource_class);
`

/** \`(total - reserved) * allocation_ratio\` rounded down, in doubles: as objects/inventory.ts computes it. */
const CAPACITY = `
  create function inventory_capacity(inventories) returns bigint language sql immutable as
    $$ select floor(($1.total - $1.reserved) * $1.allocation_ratio)::bigint $$;
`

const CLAIM_GUARD = `
  create function take_from_inventory(the_provider text, the_class text, the_amount integer) returns void
  language plpgsql as $$
  declare
    stock inventories;
    refusal text;
  begin
    update inventories i set used = i.used + the_amount
     where i.provider = the_provider and i.resource_class = the_class
       and i.offered
       and i.used + the_amount <= inventory_capacity(i)
       and the_amount between i.min_unit and i.max_unit
       and the_amount % i.step_size = 0;
    if found then return; end if;

    select * into stock from inventories i where i.provider = the_provider and i.resource_class = the_class;
    refusal := case
      when stock.provider is null then 'has no such inventory'
      when not stock.offered then 'is offered no more'
      when the_amount < stock.min_unit then format('is given out from %s', stock.min_unit)
      when the_amount > stock.max_unit then format('is given out up to %s', stock.max_unit)
      when the_amount % stock.step_size <> 0 then format('is given out in steps of %s', stock.step_size)
      else format('has %s of %s used', stock.used, inventory_capacity(stock))
    end;
    raise exception '% asked of % on %, which %', the_amount, the_class, the_provider, refusal
      using errcode = '${CLAIM_REFUSED_STATE}', detail = json_build_object(
        'provider', the_provider, 'resource_class', the_class, 'amount', the_amount, 'refusal', refusal,
        'used', stock.used, 'capacity', inventory_capacity(stock), 'reserved', stock.reserved, 'total', stock.total)::text;
  end $$;

  create function allocations_move_use() returns trigger language plpgsql as $$
  begin
    if tg_op <> 'INSERT' then
      update inventories i set used = i.used - old.amount
       where i.provider = old.provider and i.resource_class = old.resource_class;
    end if;
    if tg_op = 'DELETE' then return old; end if;
    perform take_from_inventory(new.provider, new.resource_class, new.amount);
    return new;
  end $$;
  create trigger allocations_move_use before insert or update or delete on allocations
    for each row execute function allocations_move_use();

  create function refuse_by_hand() returns trigger language plpgsql as $$
  begin
    raise exception '%', tg_argv[0] using errcode = '${USE_GUARDED_STATE}';
  end $$;
  create trigger inventories_use_is_guarded before update of used on inventories
    for each row when (new.used <> old.used and pg_trigger_depth() = 0)
    execute function refuse_by_hand('inventories.used moves with allocations only');
  create trigger inventories_begin_unused before insert on inventories
    for each row when (new.used <> 0)
    execute function refuse_by_hand('an inventory begins with nothing used');
  create trigger allocations_are_not_truncated before truncate on allocations
    for each statement execute function refuse_by_hand('delete allocations instead, so that inventories.used moves');
`

export const placementMigrations: readonly Migration[] = [
  { id: 'placement-0001', sql: TABLES + CAPACITY + CLAIM_GUARD },
  { id: 'placement-0002', sql: PINNED_MEMORY },
  { id: 'placement-0003', sql: FEED },
  { id: 'placement-0004-aggregates', sql: AGGREGATES },
  { id: 'placement-0005-server-groups', sql: SERVER_GROUPS },
  { id: 'placement-0006-build-outcomes', sql: BUILD_OUTCOMES },
  { id: 'placement-0007-claim-groups', sql: ACCOUNTING + CLAIM_GROUPS + MOVES },
  { id: 'placement-0008-encryption-mode', sql: ENCRYPTION_MODE },
  { id: 'placement-0009-evacuations', sql: EVACUATIONS },
  { id: 'placement-0010-workers', sql: WORKERS },
  { id: 'placement-0011-claim-arrays', sql: CLAIM_ARRAYS },
  { id: 'placement-0012-named-by-uuid', sql: NAMED_BY_UUID },
  { id: 'placement-0013-rebuilds', sql: REBUILDS },
  { id: 'placement-0014-live-migrations', sql: LIVE_MIGRATIONS },
  { id: 'placement-0015-successes-at-rest', sql: SUCCESSES_AT_REST },
  { id: 'placement-0016-use-log', sql: USE_LOG },
  { id: 'placement-0017-lighter-counting', sql: LIGHTER_COUNTING },
  { id: 'placement-0018-versions-by-time', sql: VERSIONS_BY_TIME },
]
