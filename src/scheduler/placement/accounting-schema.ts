import { type LogHosts, movingUse } from './moving-use-schema.ts'
import { CLAIM_REFUSED_STATE, USE_GUARDED_STATE } from './sql-states.ts'

/**
 * The rules of `schema.ts` and `pinned-memory-schema.ts` hold per statement instead of per row: many allocations that
 * are written at once (`claim-group-schema.ts`) cost each inventory one update, in one order for all writers.
 */
const NO_LONGER = `
  drop trigger allocations_move_use on allocations;
  drop trigger allocations_pin_memory on allocations;
  drop function allocations_move_use();
  drop function allocations_pin_memory();
  drop function take_from_inventory(text, text, integer, integer);
  drop index allocations_of_inventory;
  alter table consumers alter column report type json;
  -- Compressing it takes longer than all the rest.
  alter table consumers alter column report set storage external;
`

/** Says why an inventory does not take what was asked: from the lowest to the highest, \`asked\` in all. */
const REFUSAL = `
  create function refuse_claim(
    the_provider text, the_class text, asked bigint, pin bigint, lowest integer, highest integer) returns void
  language plpgsql as $$
  declare
    stock inventories;
    amount bigint := asked;
    refusal text;
  begin
    select * into stock from inventories i where i.provider = the_provider and i.resource_class = the_class;
    if stock.provider is null then refusal := 'has no such inventory';
    elsif not stock.offered then refusal := 'is offered no more';
    elsif lowest < stock.min_unit then
      amount := lowest;
      refusal := format('is given out from %s', stock.min_unit);
    elsif highest > stock.max_unit then
      amount := highest;
      refusal := format('is given out up to %s', stock.max_unit);
    elsif inventory_takes(stock, asked, pin) then refusal := format('is given out in steps of %s', stock.step_size);
    elsif stock.used + asked > inventory_capacity(stock) then
      refusal := format('has %s of %s used', stock.used, inventory_capacity(stock));
    else
      refusal := format('has %s of %s used, %s of it pinned, and does not overcommit what is pinned',
                        stock.used, inventory_capacity(stock), stock.pinned);
    end if;
    raise exception '% asked of % on %, which %', amount, the_class, the_provider, refusal
      using errcode = '${CLAIM_REFUSED_STATE}', detail = json_build_object(
        'provider', the_provider, 'resource_class', the_class, 'amount', amount, 'refusal', refusal,
        'used', stock.used, 'pinned', stock.pinned, 'capacity', inventory_capacity(stock),
        'reserved', stock.reserved, 'total', stock.total)::text;
  end $$;
`

const LOG_HOSTS: LogHosts = (rows) => `
  insert into host_changes (host)
  select distinct p.host from (select distinct provider from ${rows}) r join resource_providers p on p.name = r.provider;
  return null;`

const ON_EACH_MOVE = `
  create trigger allocations_taken after insert on allocations referencing new table as taken
    for each statement execute function allocations_taken();
  create trigger allocations_given_back after delete on allocations referencing old table as given
    for each statement execute function allocations_given_back();
  create trigger allocations_changed after update on allocations referencing old table as given new table as taken
    for each statement execute function allocations_changed();
`

const PIN_MEMORY = `
  create function allocations_pin_memory() returns trigger language plpgsql as $$
  declare
    with_slot uuid[] := array(select consumer from taken where resource_class = 'MEM_ENCRYPTION_CONTEXT');
    in_clear uuid[] := array(select consumer from taken where resource_class = 'MEMORY_MB' and not pinned);
    broken uuid;
  begin
    select a.consumer into broken from allocations a
     where a.consumer = any(with_slot) and a.resource_class = 'MEMORY_MB' and not a.pinned limit 1;
    if broken is null and in_clear <> '{}' then
      select a.consumer into broken from allocations a
       where a.consumer = any(in_clear) and a.resource_class = 'MEM_ENCRYPTION_CONTEXT' limit 1;
    end if;
    if broken is not null then
      raise exception 'consumer % has an encryption slot, and memory that is not pinned', broken
        using errcode = '${USE_GUARDED_STATE}';
    end if;
    return null;
  end $$;
  create trigger allocations_pin_memory after insert on allocations referencing new table as taken
    for each statement execute function allocations_pin_memory();
  create trigger allocations_still_pin_memory after update on allocations referencing new table as taken
    for each statement execute function allocations_pin_memory();
`

/** What the foreign keys held: nothing goes that something is allocated of, or to. */
const KEPT = `
  alter table allocations drop constraint allocations_consumer_fkey;
  alter table allocations drop constraint allocations_provider_resource_class_fkey;

  create function refuse_while_in_use() returns trigger language plpgsql as $$
  begin
    raise exception '%', tg_argv[0] using errcode = 'foreign_key_violation';
  end $$;
  create trigger inventories_in_use_stay before delete on inventories
    for each row when (old.used <> 0) execute function refuse_while_in_use('something is allocated of this inventory');
  create trigger inventories_in_use_keep_their_name before update of provider, resource_class on inventories
    for each row when (old.used <> 0 and (old.provider, old.resource_class) <> (new.provider, new.resource_class))
    execute function refuse_while_in_use('something is allocated of this inventory');
  create trigger inventories_are_not_truncated before truncate on inventories
    for each statement execute function refuse_by_hand('delete inventories instead, so that those in use stay');

  create function consumers_with_allocations_stay() returns trigger language plpgsql as $$
  begin
    if exists (select from allocations a where a.consumer = old.uuid) then
      raise exception 'consumer % has allocations', old.uuid using errcode = 'foreign_key_violation';
    end if;
    return case tg_op when 'DELETE' then old else new end;
  end $$;
  create trigger consumers_with_allocations_stay before delete on consumers
    for each row execute function consumers_with_allocations_stay();
  create trigger consumers_with_allocations_keep_their_name before update of uuid on consumers
    for each row when (old.uuid <> new.uuid) execute function consumers_with_allocations_stay();
  create trigger consumers_are_not_truncated before truncate on consumers
    for each statement execute function refuse_by_hand('delete consumers instead, so that those with allocations stay');
`

/**
 * Inventories that move with allocations count and log in the triggers above, once per statement. The guards name their
 * columns instead of conditions: a condition is compiled for each statement, and costs more than the update itself.
 */
const GUARDS = `
  drop trigger inventories_use_is_guarded on inventories;
  drop trigger inventories_pinned_is_guarded on inventories;
  create function inventories_use_is_guarded() returns trigger language plpgsql as $$
  begin
    -- 1: this trigger itself.
    if pg_trigger_depth() = 1 and (new.used, new.pinned) is distinct from (old.used, old.pinned) then
      raise exception 'inventories.used and pinned move with allocations only' using errcode = '${USE_GUARDED_STATE}';
    end if;
    return new;
  end $$;
  create trigger inventories_use_is_guarded before update of used, pinned on inventories
    for each row execute function inventories_use_is_guarded();

  drop trigger inventories_version on inventories;
  create trigger inventories_version
    before update of total, reserved, min_unit, max_unit, step_size, allocation_ratio, offered on inventories
    for each row execute function next_version();

  drop trigger inventories_insert_changes on inventories;
  drop trigger inventories_update_changes on inventories;
  drop trigger inventories_delete_changes on inventories;
  create function inventory_changed() returns trigger language plpgsql as $$
  begin
    insert into host_changes (host) select p.host from resource_providers p
     where p.name = case tg_op when 'DELETE' then old.provider else new.provider end;
    return null;
  end $$;
  create trigger inventories_change
    after insert or delete
       or update of provider, total, reserved, min_unit, max_unit, step_size, allocation_ratio, offered on inventories
    for each row execute function inventory_changed();
`

export const ACCOUNTING = NO_LONGER + REFUSAL + movingUse(LOG_HOSTS) + ON_EACH_MOVE + PIN_MEMORY + KEPT + GUARDS
