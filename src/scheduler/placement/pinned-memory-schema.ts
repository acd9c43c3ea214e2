import { CLAIM_REFUSED_STATE, USE_GUARDED_STATE } from './sql-states.ts'

/**
 * Memory that cannot be swapped is never overcommitted. Of an inventory with a ratio above 1, what is pinned takes its
 * amount from what is really there, and only the rest is lent out more than once:
 *
 *     pinned <= total - reserved   and   used - pinned <= (total - reserved - pinned) * ratio
 *
 * So 64 GiB at a ratio of 1.5 hold 96 GiB of ordinary guests, or 32 GiB of pinned ones and 48 of ordinary. At a ratio up
 * to 1 the rule says nothing new. It holds at the moment of the update, under the lock of the inventory's row.
 */
const RULE = `
  alter table inventories add column pinned bigint not null default 0 check (pinned between 0 and used);
  alter table allocations add column pinned boolean not null default false;

  create function inventory_takes(inventories, more bigint, more_pinned bigint) returns boolean language sql immutable as
    $$ select $1.used + more <= inventory_capacity($1)
          and $1.pinned + more_pinned <= $1.total - $1.reserved
          and $1.used + more - $1.pinned - more_pinned
              <= floor(($1.total - $1.reserved - $1.pinned - more_pinned) * greatest($1.allocation_ratio, 1)) $$;
`

/** A guest has one slot, in one pool; and whoever has one has pinned its memory. */
const ENCRYPTED_CONSUMERS = `
  create unique index allocations_one_slot on allocations (consumer) where resource_class = 'MEM_ENCRYPTION_CONTEXT';

  create function allocations_pin_memory() returns trigger language plpgsql as $$
  begin
    if exists (select from allocations a where a.consumer = new.consumer and a.resource_class <> new.resource_class
                  and a.resource_class in ('MEMORY_MB', 'MEM_ENCRYPTION_CONTEXT')
                  and not case a.resource_class when 'MEMORY_MB' then a.pinned else new.pinned end)
    then
      raise exception 'consumer % has an encryption slot, and memory that is not pinned', new.consumer
        using errcode = '${USE_GUARDED_STATE}';
    end if;
    return null;
  end $$;
`

const GUARD = `
  drop function take_from_inventory(text, text, integer);
  create function take_from_inventory(the_provider text, the_class text, the_amount integer, pin integer) returns void
  language plpgsql as $$
  declare
    stock inventories;
    refusal text;
  begin
    update inventories i set used = i.used + the_amount, pinned = i.pinned + pin
     where i.provider = the_provider and i.resource_class = the_class
       and i.offered
       and inventory_takes(i, the_amount, pin)
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
      when stock.used + the_amount > inventory_capacity(stock)
        then format('has %s of %s used', stock.used, inventory_capacity(stock))
      else format('has %s of %s used, %s of it pinned, and does not overcommit what is pinned',
                  stock.used, inventory_capacity(stock), stock.pinned)
    end;
    raise exception '% asked of % on %, which %', the_amount, the_class, the_provider, refusal
      using errcode = '${CLAIM_REFUSED_STATE}', detail = json_build_object(
        'provider', the_provider, 'resource_class', the_class, 'amount', the_amount, 'refusal', refusal,
        'used', stock.used, 'pinned', stock.pinned, 'capacity', inventory_capacity(stock),
        'reserved', stock.reserved, 'total', stock.total)::text;
  end $$;

  create or replace function allocations_move_use() returns trigger language plpgsql as $$
  begin
    if tg_op <> 'INSERT' then
      update inventories i
         set used = i.used - old.amount, pinned = i.pinned - case when old.pinned then old.amount else 0 end
       where i.provider = old.provider and i.resource_class = old.resource_class;
    end if;
    if tg_op = 'DELETE' then return old; end if;
    perform take_from_inventory(new.provider, new.resource_class, new.amount,
                                case when new.pinned then new.amount else 0 end);
    return new;
  end $$;

  create trigger inventories_pinned_is_guarded before update of pinned on inventories
    for each row when (new.pinned <> old.pinned and pg_trigger_depth() = 0)
    execute function refuse_by_hand('inventories.pinned moves with allocations only');
`

/** Guests that were there before: theirs is pinned, whether it fits or not. */
const BACKFILL = `
  alter table allocations disable trigger allocations_move_use;
  update allocations a set pinned = true
   where a.resource_class = 'MEMORY_MB' and exists (
     select from allocations slot where slot.consumer = a.consumer and slot.resource_class = 'MEM_ENCRYPTION_CONTEXT');
  alter table allocations enable trigger allocations_move_use;
  update inventories i set pinned = p.amount
    from (select provider, resource_class, sum(amount) as amount from allocations where pinned group by 1, 2) p
   where p.provider = i.provider and p.resource_class = i.resource_class;
`

const AFTERWARDS = `
  create trigger allocations_pin_memory after insert or update on allocations
    for each row when (new.resource_class in ('MEMORY_MB', 'MEM_ENCRYPTION_CONTEXT'))
    execute function allocations_pin_memory();
`

export const PINNED_MEMORY = RULE + ENCRYPTED_CONSUMERS + BACKFILL + GUARD + AFTERWARDS
