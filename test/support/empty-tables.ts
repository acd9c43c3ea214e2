import type { Database } from '../../src/database/database.ts'
import { migrate } from '../../src/database/migrate.ts'
import type { Migration } from '../../src/database/migration.ts'

/** Everything of the schema that a statement could change, with the version (`xmin`) of each part that may change in place. */
const SHAPE = `
  select md5(string_agg(part, ',' order by part)) as shape from (
    select 'class ' || oid::text from pg_class where relnamespace = 'public'::regnamespace
    union all select 'column ' || attrelid::text || ' ' || attnum || ' ' || a.xmin::text
      from pg_attribute a join pg_class c on c.oid = attrelid where relnamespace = 'public'::regnamespace
    union all select 'constraint ' || k.oid::text || ' ' || k.xmin::text from pg_constraint k
      where connamespace = 'public'::regnamespace
    union all select 'function ' || p.oid::text || ' ' || p.xmin::text from pg_proc p
      where pronamespace = 'public'::regnamespace
    union all select 'trigger ' || t.oid::text || ' ' || t.xmin::text
      from pg_trigger t join pg_class c on c.oid = tgrelid where relnamespace = 'public'::regnamespace
    union all select 'type ' || y.oid::text || ' ' || y.xmin::text from pg_type y
      where typnamespace = 'public'::regnamespace
  ) as parts (part)`

interface Made {
  readonly migrations: readonly Migration[]
  readonly shape: string
  /** Brings all rows and sequences back to what they were when the migrations had just run. */
  readonly restore: string
}

/** The tables of one database, made new for each test: from nothing, or emptied when they are as they were made. */
export class EmptyTables {
  #made: Made | undefined

  async make(database: Database, migrations: readonly Migration[]): Promise<void> {
    const made = this.#made
    if (made !== undefined && areSame(made.migrations, migrations) && (await shapeOf(database)) === made.shape) {
      await database.query(made.restore)
      return
    }
    this.#made = undefined
    await database.query('drop schema public cascade; create schema public')
    await migrate(database, migrations)
    const restore = await restoring(database)
    if (restore !== undefined) this.#made = { migrations, shape: await shapeOf(database), restore }
  }
}

function areSame(some: readonly Migration[], others: readonly Migration[]): boolean {
  return some.length === others.length && some.every(({ id, sql }, n) => id === others[n]?.id && sql === others[n]?.sql)
}

async function shapeOf(database: Database): Promise<string> {
  const [row] = await database.query<{ shape: string }>(SHAPE)
  return row?.shape ?? ''
}

/** Undefined where the user may not switch triggers off, some of which guard what is in the tables. */
async function restoring(database: Database): Promise<string | undefined> {
  const [user] = await database.query<{ rolsuper: boolean }>(
    'select rolsuper from pg_roles where rolname = current_user',
  )
  if (!user?.rolsuper) return undefined
  const tables = await database.query<{ name: string }>(
    `select quote_ident(relname) as name from pg_class
      where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> 'sevbus_migrations' order by relname`,
  )
  const selects = tables.map(({ name }) => `select '${name}' as name, json_agg(t)::text as rows from ${name} t`)
  const contents =
    tables.length === 0 ? [] : await database.query<{ name: string; rows: string | null }>(selects.join(' union all '))
  const inserts = contents
    .filter(({ rows }) => rows !== null)
    .map(
      ({ name, rows }) =>
        `insert into ${name} overriding system value
         select * from json_populate_recordset(null::${name}, $rows$${rows}$rows$);`,
    )
  return `
    do $restore$
    declare
      filled record;
    begin
      perform set_config('session_replication_role', 'replica', true);
      for filled in
        select c.oid::regclass as name, pg_relation_size(c.oid) as bytes from pg_class c
         where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> 'sevbus_migrations'
           and pg_relation_size(c.oid) > 0
      loop
        -- To truncate is to make new files: for a few rows it takes longer than to delete them.
        execute format(case when filled.bytes > 65536 then 'truncate %s cascade' else 'delete from %s' end, filled.name);
      end loop;
      perform setval(format('%I.%I', schemaname, sequencename), start_value, false)
         from pg_sequences where schemaname = 'public' and last_value is not null;
      ${inserts.join('\n')}
    end $restore$`
}
