import { conductorMigrations } from '../conductor/schema.ts'
import type { Migration } from '../database/migration.ts'
import { outboxMigrations } from '../database/outbox-schema.ts'
import { auditMigrations } from '../scheduler/audit/schema.ts'
import { placementMigrations } from '../scheduler/placement/schema.ts'

/** All tables of all services, in the order they are made. */
export const allMigrations: readonly Migration[] = [
  ...outboxMigrations,
  ...placementMigrations,
  ...conductorMigrations,
  ...auditMigrations,
]
