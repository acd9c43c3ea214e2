import { LOOKED_FOR_WHERE_SOME_ARE, movingUseAgain } from './moving-use-schema.ts'
import { USE_GUARDED_STATE } from './sql-states.ts'
import { LOG_USE_ONLY } from './use-log-schema.ts'

/**
 * Counting costs each claim less, and refuses the same: which inventories did not take what was asked is looked for only where
 * not all did, and who writes `used` by hand is refused once per statement, before it begins, and not row by row.
 */
const GUARD = `
  drop trigger inventories_use_is_guarded on inventories;
  create or replace function inventories_use_is_guarded() returns trigger language plpgsql as $$
  begin
    -- 1: this trigger itself.
    if pg_trigger_depth() = 1 then
      raise exception 'inventories.used and pinned move with allocations only' using errcode = '${USE_GUARDED_STATE}';
    end if;
    return null;
  end $$;
  create trigger inventories_use_is_guarded before update of used, pinned on inventories
    for each statement execute function inventories_use_is_guarded();
`

export const LIGHTER_COUNTING = movingUseAgain(LOG_USE_ONLY, LOOKED_FOR_WHERE_SOME_ARE) + GUARD
