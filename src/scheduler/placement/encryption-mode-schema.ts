import { CLAIM_REFUSED_STATE } from './sql-states.ts'

const ES = `'HW_CPU_X86_AMD_SEV_ES'`
const SNP = `'HW_CPU_X86_AMD_SEV_SNP'`
const MODES = `${ES}, ${SNP}`
const label = (trait: string) => `case ${trait} when ${ES} then 'SEV-ES' else 'SEV-SNP' end`

/**
 * SEV-ES and SEV-SNP are one pool in one of two modes: they draw on the same keys, and with SEV-SNP on, AMD's firmware
 * with the fix for CVE-2025-48514 starts no SEV-ES guests. Placement knows a provider for each, so while one of them has
 * a slot in use, be it only held by a move, the other one gives none, whatever the host reports.
 *
 * The other pool's row is locked before it is read, so that of two claims the second sees the first. These are the last
 * locks of a claim and out of their order, which does no harm: who claims, releases or reports on a host has locked the
 * host's own inventories, which come before its pools.
 */
const OTHER_MODES = `
  create function other_modes(pools text[])
  returns table (pool text, model text, other_pool text, other_model text, other_used bigint) language plpgsql as $$
  begin
    return query
      select p.name, ${label('t.trait')}, q.name, ${label('u.trait')}, i.used
        from resource_providers p
        join provider_traits t on t.provider = p.name and t.trait in (${MODES})
        join resource_providers q on q.host = p.host and q.name <> p.name
        join provider_traits u on u.provider = q.name and u.trait = case t.trait when ${ES} then ${SNP} else ${ES} end
        join inventories i on i.provider = q.name and i.resource_class = 'MEM_ENCRYPTION_CONTEXT'
       where p.name = any(pools)
       order by i.provider collate "C"
         for share of i;
  end $$;

  create function keep_to_one_mode(pools text[]) returns void language plpgsql as $$
  declare
    mode record;
    refusal text;
  begin
    if pools = '{}' then return; end if;
    for mode in select * from other_modes(pools) loop
      continue when mode.other_used = 0;
      refusal := format('is off while %s %s %s in use: a host runs one of the two', mode.other_used, mode.other_model,
                        case mode.other_used when 1 then 'slot is' else 'slots are' end);
      raise exception '1 asked of MEM_ENCRYPTION_CONTEXT on %, which %', mode.pool, refusal
        using errcode = '${CLAIM_REFUSED_STATE}', detail = json_build_object(
          'provider', mode.pool, 'resource_class', 'MEM_ENCRYPTION_CONTEXT', 'amount', 1, 'refusal', refusal,
          'other_provider', mode.other_pool, 'other_model', mode.other_model, 'other_used', mode.other_used)::text;
    end loop;
  end $$;
`

/** By their names they come after \`allocations_taken\` and \`allocations_changed\`, which lock and count. */
const GUARD = `
  create function allocations_taken_in_one_mode() returns trigger language plpgsql as $$
  begin
    perform keep_to_one_mode(array(
      select distinct s.provider from taken s join provider_traits t on t.provider = s.provider and t.trait in (${MODES})
       where s.resource_class = 'MEM_ENCRYPTION_CONTEXT'));
    return null;
  end $$;
  create trigger allocations_taken_in_one_mode after insert on allocations referencing new table as taken
    for each statement execute function allocations_taken_in_one_mode();

  -- What goes to another consumer as it is, as moves let it, takes no slot.
  create function allocations_changed_in_one_mode() returns trigger language plpgsql as $$
  begin
    perform keep_to_one_mode(array(
      select provider from (select provider, resource_class, amount from taken
                            union all
                            select provider, resource_class, -amount from given) as difference
       where resource_class = 'MEM_ENCRYPTION_CONTEXT' group by provider having sum(amount) > 0));
    return null;
  end $$;
  create trigger allocations_changed_in_one_mode after update on allocations
    referencing old table as given new table as taken
    for each statement execute function allocations_changed_in_one_mode();
`

export const ENCRYPTION_MODE = OTHER_MODES + GUARD
