import type { Migration } from '../../database/migration.ts'

/** One row: who audits now, and what the last whole audit found. */
export const auditMigrations: readonly Migration[] = [
  {
    id: 'audit-0001',
    sql: `
      create table last_audit (
        only_row    boolean primary key default true check (only_row),
        holder      text,
        lease_until timestamptz not null default '-infinity',
        finished_at timestamptz,
        result      jsonb
      );
      insert into last_audit default values;`,
  },
]
