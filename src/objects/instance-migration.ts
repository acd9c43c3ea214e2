import { z } from 'zod'
import { HostName } from './host-report.ts'
import { Migration } from './request-spec.ts'

/** Nova's words for how far a move is. */
const MigrationStatus = z.enum([
  /** The instance has not arrived. */
  'accepted',
  /** It is resized, or was migrated: somebody has to say whether it stays. What it has on both hosts is its own. */
  'finished',
  /** It stays: the host that it left is to remove what it has of it. */
  'confirming',
  /** It goes back, or has never left: the destination is to remove what it has of it. */
  'reverting',
  /** It runs at its destination; of the guest that it left nothing is known yet, and what that had stays claimed. */
  'done',
  /** The host that it left has nothing of it any more. */
  'completed',
  /** It is where it was; of a rebuild whose earlier guest is gone: it is in ERROR. */
  'failed',
  /** The same, because somebody wanted it so. */
  'reverted',
])

/** One move of an instance, as `explain` shows it. */
export const InstanceMigration = z.object({
  uuid: z.guid(),
  type: Migration.shape.type,
  status: MigrationStatus,
  source_host: HostName,
  /** The try that the guest at the source is of. */
  source_attempt: z.int().min(1),
  /** Null: none was found, so far. */
  dest_host: HostName.nullable(),
  /** Of a resize: the names of the flavors. */
  source_flavor: z.string().nullable().default(null),
  new_flavor: z.string().nullable().default(null),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
})
export type InstanceMigration = z.infer<typeof InstanceMigration>
